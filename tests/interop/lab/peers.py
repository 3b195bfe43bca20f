"""The peers of the lab: Debian's dnsmasq, prosody, ejabberd and kamailio with configurations of ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lab.certificates import Authority
from lab.commands import Service
from lab.hosts import DNS, EJABBERD, KAMAILIO, PROSODY, Network
from lab.names import (COMPONENT_DOMAINS, EJABBERD_DOMAINS, FAULTS, KAMAILIO_DOMAINS, NAMINGS, PROSODY_DOMAINS,
                       ROOM_DOMAINS, TLS_COMPONENTS, dnsmasq_config, own_leaf)

TEMPLATES = Path(__file__).parent / "templates"
SCHEMAS = Path("/usr/share/kamailio/db_sqlite")
# For a component of prosody or ejabberd, which the gateway is in some cases (XEP-0114).
COMPONENT_PORT = 5347
TLS_COMPONENT_PORT = 5348  # ejabberd's; prosody has none
COMPONENT_SECRET = "component-secret"


def fill(template: str, values: dict[str, object]) -> str:
    """The template with every @NAME@ replaced."""
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def dnsmasq(network: Network, folder: Path) -> Service:
    folder.mkdir()
    config = folder / "dnsmasq.conf"
    config.write_text(dnsmasq_config(DNS.v4, DNS.v6))
    command = ["dnsmasq", "--conf-file=" + str(config), "--user=root", f"--pid-file={folder}/pid"]
    return Service("dns", network.exec(DNS, *command), folder / "log")


# How prosody trusts its partners on the domains that begin so; elsewhere dialback will do. `closed.` federates with nobody.
PROSODY_LINKS = {"closed": '  modules_disabled = { "s2s", "dialback" }\n',
                 "ext": '  s2s_secure_auth = true\n  modules_disabled = { "dialback" }\n',
                 **dict.fromkeys(("bidi", *FAULTS), '  modules_enabled = { "s2s_bidi" }\n')}


def prosody(network: Network, folder: Path, authority: Authority) -> Service:
    (folder / "data").mkdir(parents=True)
    config = folder / "prosody.cfg.lua"
    hosts = "\n".join(_virtual_host(domain, authority) for domain in PROSODY_DOMAINS)
    hosts += _component(COMPONENT_DOMAINS["prosody"], authority)
    certificate, key = authority.chain("prosody")
    values = {"DATA": folder / "data", "V4": PROSODY.v4, "V6": PROSODY.v6, "PORT": COMPONENT_PORT, "HOSTS": hosts,
              "CERTIFICATE": certificate, "KEY": key, "ROOT": authority.root}
    config.write_text(fill("prosody.cfg.lua", values))
    command = network.exec(PROSODY, "prosody", "--config", str(config), "-F")
    return Service("prosody", command, folder / "log")


def _virtual_host(domain: str, authority: Authority) -> str:
    """A domain of users, or one of rooms."""
    label = domain.split(".")[0]
    leaf = own_leaf(domain)
    certificate, key = authority.chain(f"{leaf}.jabber" if leaf else "prosody")
    ssl = f'{{ certificate = "{certificate}", key = "{key}", cafile = "{authority.root}" }}'
    kind = f'Component "{domain}" "muc"' if domain in ROOM_DOMAINS else f'VirtualHost "{domain}"'
    # On the ports for direct TLS, the settings of this domain for the port itself are those that count.
    ports = (f'  c2s_direct_tls_ssl = {ssl}\n  s2s_direct_tls_ssl = {ssl}\n' if "direct." in domain else "")
    return f'{kind}\n  ssl = {ssl}\n{ports}{PROSODY_LINKS.get(label, "")}'


def _component(domain: str, authority: Authority) -> str:
    """A domain whose stanzas the gateway handles, when it is connected."""
    certificate, key = authority.chain("prosody")
    return (f'Component "{domain}"\n'
            f'  component_secret = "{COMPONENT_SECRET}"\n'
            f'  modules_enabled = {{ "dialback" }}\n'
            f'  ssl = {{ certificate = "{certificate}", key = "{key}", cafile = "{authority.root}" }}\n')


def ejabberd(network: Network, folder: Path, authority: Authority) -> Service:
    folder.mkdir()
    # It finds the certificate of each domain by the names in them.
    leaves = ("ejabberd", "wrong.direct.ejabberd", *(f"{label}.ejabberd" for label in (*FAULTS, *NAMINGS)))
    files = [path for leaf in leaves for path in authority.chain(leaf)]
    listener = folder / "component.pem"
    listener.write_text("".join(path.read_text() for path in authority.chain("ejabberd")))
    values = {"CERTIFICATES": "".join(f'  - "{path}"\n' for path in files), "ROOT": authority.root, "V4": EJABBERD.v4,
              "HOSTS": "".join(f"  - {domain}\n" for domain in EJABBERD_DOMAINS),
              "COMPONENT": COMPONENT_DOMAINS["ejabberd"], "PORT": COMPONENT_PORT, "SECRET": COMPONENT_SECRET,
              "TLS_PORT": TLS_COMPONENT_PORT, "CERTIFICATE": listener,
              "TLS_COMPONENTS": "".join(f'      "{domain}":\n        password: "{COMPONENT_SECRET}"\n'
                                        for domain in TLS_COMPONENTS),
              "COMPONENTS": "".join(f'      - "{domain}"\n' for domain in TLS_COMPONENTS)}
    config = folder / "ejabberd.yml"
    config.write_text(fill("ejabberd.yml", values))
    # Started without Erlang's distribution, so that no epmd stays behind.
    command = ["erl", "-noinput", "+sbwt", "none", "+S", "2:2", "-mnesia", "dir", f'"{folder}/mnesia"',
               "-s", "ejabberd"]
    env = {"EJABBERD_CONFIG_PATH": str(config), "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
           "ERL_LIBS": "/usr/lib/x86_64-linux-gnu", "ERL_CRASH_DUMP_BYTES": "0", "HOME": str(folder)}
    return Service("ejabberd", network.exec(EJABBERD, *command), folder / "log", cwd=folder, env=env)


def kamailio(network: Network, folder: Path, authority: Authority) -> Service:
    folder.mkdir()
    certificate, key = authority.chain("kamailio")
    values = {"CERTIFICATE": certificate, "KEY": key, "ROOT": authority.root, "FOLDER": folder,
              "V4": KAMAILIO.v4, "V6": KAMAILIO.v6,
              "ALIASES": "\n".join(f'alias="{domain}"' for domain in KAMAILIO_DOMAINS)}
    (folder / "tls.cfg").write_text(fill("kamailio-tls.cfg", values))
    config = folder / "kamailio.cfg"
    config.write_text(fill("kamailio.cfg", values))
    with sqlite3.connect(folder / "presence.sqlite") as base:
        for schema in ("standard", "presence"):
            base.executescript((SCHEMAS / f"{schema}-create.sql").read_text())
    command = ["kamailio", "-DD", "-E", "-m", "128", "-M", "16", "-f", str(config), "-Y", str(folder),
               "-P", str(folder / "pid")]
    return Service("kamailio", network.exec(KAMAILIO, *command), folder / "log")
