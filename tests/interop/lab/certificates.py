"""A certificate authority for the lab and what it signs, made by openssl.

Subject alternative names are dNSName only: ejabberd 23.01 ends a stream whose peer shows an xmppAddr.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.names import COMPONENT_DOMAINS, EJABBERD_DOMAINS, KAMAILIO_DOMAINS, PROSODY_DOMAINS, SIP_DOMAINS, UA_DOMAINS, XMPP_DOMAINS

VALID = ("20240101000000Z", "20491231235959Z")
PAST = ("20200101000000Z", "20210101000000Z")


@dataclass(frozen=True)
class Leaf:
    """One certificate to make: file name, names in it, from when to when it holds, and whether its key is an RSA key
    (as those of Microsoft's servers are).
    """

    name: str
    names: tuple[str, ...]
    validity: tuple[str, str] = VALID
    rsa: bool = False


def _good(domains: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in domains if not name.startswith(("wrong.", "expired.")))


LEAVES = (
    Leaf("gw", ("gw.ocs.test", "gw6.ocs.test", *SIP_DOMAINS, *XMPP_DOMAINS), rsa=True),
    Leaf("kamailio", ("sip.ocs.test", "sip6.ocs.test", *KAMAILIO_DOMAINS)),
    Leaf("prosody", ("xmpp.jabber.test", *_good(PROSODY_DOMAINS), COMPONENT_DOMAINS["prosody"])),
    Leaf("ejabberd", ("xmpp.ejabberd.test", *EJABBERD_DOMAINS, COMPONENT_DOMAINS["ejabberd"])),
    Leaf("ua", ("ua.ua.test", *_good(UA_DOMAINS))),
    Leaf("edge", ("edge.corp.test",), rsa=True),
    Leaf("wrong.jabber", ("elsewhere.test",)),
    Leaf("expired.jabber", ("expired.jabber.test",), PAST),
    Leaf("wrong.ua", ("elsewhere.test",)),
    Leaf("expired.ua", ("expired.ua.test",), PAST),
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
[any]
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
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
        self._key("ca")
        run("openssl", "req", "-x509", "-new", "-key", str(self.folder / "ca.key"), "-subj", "/CN=stoxgate lab CA",
            "-days", "9000", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", str(self.root))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._issue, LEAVES))
        for path in self.folder.iterdir():
            path.chmod(0o644)

    def _key(self, name: str, rsa: bool = False) -> None:
        kind = ("RSA", "rsa_keygen_bits:2048") if rsa else ("EC", "ec_paramgen_curve:P-256")
        run("openssl", "genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", str(self.folder / f"{name}.key"))

    def _issue(self, leaf: Leaf) -> None:
        at = {suffix: str(self.folder / f"{leaf.name}.{suffix}") for suffix in ("key", "csr", "crt", "cnf")}
        self._key(leaf.name, leaf.rsa)
        names = ",".join(f"DNS:{name}" for name in leaf.names)
        Path(at["cnf"]).write_text(CA_CONFIG.format(folder=self.folder, name=leaf.name, names=names))
        (self.folder / f"{leaf.name}.index").touch()
        serial = f"{LEAVES.index(leaf) + 16:02X}"
        (self.folder / f"{leaf.name}.serial").write_text(serial + "\n")
        run("openssl", "req", "-new", "-key", at["key"], "-subj", f"/CN={leaf.names[0]}", "-out", at["csr"])
        start, end = leaf.validity
        run("openssl", "ca", "-batch", "-notext", "-config", at["cnf"], "-extensions", "leaf",
            "-cert", str(self.root), "-keyfile", str(self.folder / "ca.key"), "-startdate", start, "-enddate", end,
            "-in", at["csr"], "-out", at["crt"])
