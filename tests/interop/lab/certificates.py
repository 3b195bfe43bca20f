"""A certificate authority for the lab and what it signs, made by openssl.

Subject alternative names are dNSName, but for the domains of `NAMINGS`: ejabberd 23.01 ends a stream whose peer shows
an xmppAddr.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.names import (COMPONENT_DOMAINS, EJABBERD_DOMAINS, KAMAILIO_DOMAINS, PROSODY_DOMAINS, SIP_DOMAINS, UA_DOMAINS,
                       XMPP_DOMAINS, own_leaf)

VALID = ("20240101000000Z", "20491231235959Z")
PAST = ("20200101000000Z", "20210101000000Z")
FUTURE = ("20480101000000Z", "20491231235959Z")


@dataclass(frozen=True)
class Leaf:
    """One certificate to make: file name, names in it (dNSName, or another kind as openssl writes it, `otherName:…`), from
    when to when it holds, whether its key is an RSA key (as those of Microsoft's servers are), what it may be used for,
    whose it is (`ca`, or `stranger-ca`, which nobody trusts), whether the authority has revoked it, and its common name
    (the first of its names), by which ejabberd, too, finds the certificate of a domain, and which proves nothing.
    """

    name: str
    names: tuple[str, ...]
    validity: tuple[str, str] = VALID
    rsa: bool = False
    usage: str = "serverAuth, clientAuth"
    issuer: str = "ca"
    revoked: bool = False
    title: str = ""

    @property
    def common_name(self) -> str:
        return self.title or self.names[0]


def _good(domains: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in domains if not own_leaf(name))


def _faulty(domain: str) -> tuple[Leaf, ...]:
    """A certificate with each fault, for the domains below it of that name."""
    base = domain.removesuffix(".test")

    def names(fault: str) -> tuple[str, ...]:
        return tuple(name for name in (*XMPP_DOMAINS, *SIP_DOMAINS)
                     if name.startswith(f"{fault}.") and name.endswith(f".{domain}"))

    return (
        Leaf(f"wrong.{base}", ("elsewhere.test",), title=f"wrong.{domain}"),
        Leaf(f"stranger.{base}", names("stranger"), issuer="stranger-ca"),
        Leaf(f"expired.{base}", names("expired"), PAST),
        Leaf(f"future.{base}", names("future"), FUTURE),
        Leaf(f"usage.{base}", names("usage"), usage="emailProtection"),
        Leaf(f"revoked.{base}", names("revoked"), revoked=True),
    )


def _naming(domain: str) -> tuple[Leaf, ...]:
    """A certificate with each kind of name (RFC 4985, RFC 6120, RFC 9525), for the domain below it that wants it."""
    base = domain.removesuffix(".test")
    return (
        Leaf(f"srvname.{base}", (f"otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server.srvname.{domain}",),
             title=f"srvname.{domain}"),
        Leaf(f"xmppaddr.{base}", (f"otherName:1.3.6.1.5.5.7.8.5;UTF8:xmppaddr.{domain}",),
             title=f"xmppaddr.{domain}"),
        Leaf(f"wildcard.{base}", (f"*.wildcard.{domain}",)),
    )


LEAVES = (
    Leaf("gw", ("gw.ocs.test", "gw6.ocs.test", *SIP_DOMAINS, *XMPP_DOMAINS), rsa=True),
    Leaf("kamailio", ("sip.ocs.test", "sip6.ocs.test", *KAMAILIO_DOMAINS)),
    Leaf("prosody", ("xmpp.jabber.test", *_good(PROSODY_DOMAINS), COMPONENT_DOMAINS["prosody"])),
    Leaf("ejabberd", ("xmpp.ejabberd.test", *_good(EJABBERD_DOMAINS), COMPONENT_DOMAINS["ejabberd"])),
    Leaf("ua", ("ua.ua.test", *_good(UA_DOMAINS))),
    Leaf("edge", ("edge.corp.test",), rsa=True),
    *_faulty("jabber.test"), *_faulty("ejabberd.test"), *_faulty("ua.test"),
    *_naming("jabber.test"), *_naming("ejabberd.test"),
    Leaf("wrong.direct.ejabberd", ("elsewhere.test",), title="wrong.direct.ejabberd.test"),
)

CA_CONFIG = """
[ca]
default_ca = lab
[lab]
database = {folder}/{name}.index
serial = {folder}/{name}.serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
crlnumber = {folder}/{name}.crlnumber
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
[any]
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {usage}
subjectAltName = {names}
"""


class Authority:
    """The lab's CA in one folder: `ca.crt`, and `NAME.crt` with `NAME.key` for every leaf."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def root(self) -> Path:
        return self.folder / "ca.crt"

    def chain(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def make(self) -> None:
        self.folder.mkdir(parents=True)
        self._authority("ca", "stoxgate lab CA")
        self._authority("stranger-ca", "a CA that nobody trusts")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._issue, LEAVES))
        self._revoke([leaf for leaf in LEAVES if leaf.revoked])
        for path in self.folder.iterdir():
            path.chmod(0o600 if path.suffix == ".key" else 0o644)

    def _authority(self, name: str, title: str) -> None:
        self._key(name)
        run("openssl", "req", "-x509", "-new", "-key", str(self.folder / f"{name}.key"), "-subj", f"/CN={title}",
            "-days", "9000", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", str(self.folder / f"{name}.crt"))

    def _revoke(self, leaves: list[Leaf]) -> None:
        """`ca.crl` with these certificates."""
        config = self.folder / "ca.cnf"
        config.write_text(CA_CONFIG.format(folder=self.folder, name="ca", names="DNS:none", usage="serverAuth"))
        entries = [f"R\t{leaf.validity[1][2:]}\t250101000000Z\t{_serial(leaf)}\tunknown\t/CN={leaf.common_name}\n"
                   for leaf in leaves]
        (self.folder / "ca.index").write_text("".join(entries))
        (self.folder / "ca.crlnumber").write_text("01\n")
        run("openssl", "ca", "-gencrl", "-config", str(config), "-cert", str(self.root),
            "-keyfile", str(self.folder / "ca.key"), "-crldays", "9000", "-out", str(self.folder / "ca.crl"))

    def _key(self, name: str, rsa: bool = False) -> None:
        kind = ("RSA", "rsa_keygen_bits:2048") if rsa else ("EC", "ec_paramgen_curve:P-256")
        run("openssl", "genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", str(self.folder / f"{name}.key"))

    def _issue(self, leaf: Leaf) -> None:
        at = {suffix: str(self.folder / f"{leaf.name}.{suffix}") for suffix in ("key", "csr", "crt", "cnf")}
        self._key(leaf.name, leaf.rsa)
        names = ",".join(name if ":" in name else f"DNS:{name}" for name in leaf.names)
        Path(at["cnf"]).write_text(CA_CONFIG.format(folder=self.folder, name=leaf.name, names=names,
                                               usage=leaf.usage))
        (self.folder / f"{leaf.name}.index").touch()
        (self.folder / f"{leaf.name}.serial").write_text(_serial(leaf) + "\n")
        run("openssl", "req", "-new", "-key", at["key"], "-subj", f"/CN={leaf.common_name}", "-out", at["csr"])
        start, end = leaf.validity
        run("openssl", "ca", "-batch", "-notext", "-config", at["cnf"], "-extensions", "leaf",
            "-cert", str(self.folder / f"{leaf.issuer}.crt"), "-keyfile", str(self.folder / f"{leaf.issuer}.key"),
            "-startdate", start, "-enddate", end, "-in", at["csr"], "-out", at["crt"])


def _serial(leaf: Leaf) -> str:
    return f"{LEAVES.index(leaf) + 16:04X}"
