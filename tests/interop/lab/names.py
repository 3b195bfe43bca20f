"""The lab's domains and what the DNS says about them.

XMPP domains publish where their server is and, for SIP, that the gateway speaks for them; SIP domains
publish their SIP server and, for XMPP, the gateway, or the server of which they are a component. The variants (`tcp.`, `tls.`, `v6.`, …) differ only in
what their records offer, so the transport of a leg is chosen as in the field: by the records.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.hosts import DEAD, EDGE, EJABBERD, GATEWAY, KAMAILIO, PROSODY, UA_SERVER, USERS, v4, v6

TTL = 2


@dataclass(frozen=True)
class SipRecords:
    """Which SRV records point at a SIP host, and on which ports; `edge` is Microsoft's federation record alone."""

    udp: int | None = None
    tcp: int | None = None
    tls: int | None = None
    edge: int | None = None


ALL = SipRecords(5060, 5060, 5061)
UDP = SipRecords(udp=5060)
TCP = SipRecords(tcp=5060)
TLS = SipRecords(tls=5061)

# What can be wrong with a certificate, as the first label of the domains that show such a one: for another name, of an
# authority that nobody trusts, expired, not valid yet, for another use, and revoked.
FAULTS = ("wrong", "stranger", "expired", "future", "usage", "revoked")
# How a pair of XMPP servers may get to trust each other, as the first label of the domains that are served so: by
# certificate alone, by dialback alone, by dialback between good certificates, over direct TLS (XEP-0368), and on one
# stream for both directions (XEP-0288).
LINKS = ("ext", "dialback", "strict", "direct", "bidi")
# By what kind of name a certificate is for its domain, and the domains that have such a one: SRVName, xmppAddr, and a
# dNSName with a wildcard. All others have the domain itself as dNSName.
NAMINGS = {"srvname": "srvname", "xmppaddr": "xmppaddr", "wildcard": "any.wildcard"}

# Where the SIP servers with such certificates listen.
FAULTY_PORTS = {label: 5071 + 10 * number for number, label in enumerate(FAULTS)}

# XMPP domain: (its server, how the gateway is offered to SIP, the gateway's name in those records)
XMPP_DOMAINS: dict[str, tuple[str, SipRecords, str]] = {
    "jabber.test": ("xmpp.jabber.test", ALL, "gw.ocs.test"),
    "udp.jabber.test": ("xmpp.jabber.test", UDP, "gw.ocs.test"),
    "tcp.jabber.test": ("xmpp.jabber.test", TCP, "gw.ocs.test"),
    "tls.jabber.test": ("xmpp.jabber.test", TLS, "gw.ocs.test"),
    "v6.jabber.test": ("xmpp6.jabber.test", ALL, "gw6.ocs.test"),
    "closed.jabber.test": ("xmpp.jabber.test", ALL, "gw.ocs.test"),
    "closed.ejabberd.test": ("xmpp.ejabberd.test", ALL, "gw.ocs.test"),
    "rooms.jabber.test": ("xmpp.jabber.test", ALL, "gw.ocs.test"),
    "ejabberd.test": ("xmpp.ejabberd.test", ALL, "gw.ocs.test"),
    **{f"{label}.{domain}": (f"xmpp.{domain}", ALL, "gw.ocs.test")
       for domain in ("jabber.test", "ejabberd.test")
       for label in (*FAULTS, *LINKS, *NAMINGS.values(), *(f"{fault}.direct" for fault in FAULTS))},
    "dead.test": ("dead.dead.test", ALL, "gw.ocs.test"),
}
PROSODY_DOMAINS = tuple(name for name, row in XMPP_DOMAINS.items() if row[0].endswith(".jabber.test"))
ROOM_DOMAINS = ("rooms.jabber.test",)  # of prosody's rooms (XEP-0045)
EJABBERD_DOMAINS = tuple(name for name, row in XMPP_DOMAINS.items() if row[0].endswith(".ejabberd.test"))

# SIP domain: (its server, the records that lead there, the gateway's name for XMPP)
SIP_DOMAINS: dict[str, tuple[str, SipRecords, str]] = {
    "ocs.test": ("sip.ocs.test", ALL, "gw.ocs.test"),
    "udp.ocs.test": ("sip.ocs.test", UDP, "gw.ocs.test"),
    "tcp.ocs.test": ("sip.ocs.test", TCP, "gw.ocs.test"),
    "tls.ocs.test": ("sip.ocs.test", TLS, "gw.ocs.test"),
    "v6.ocs.test": ("sip6.ocs.test", ALL, "gw6.ocs.test"),
    "prosody.ocs.test": ("sip.ocs.test", ALL, "xmpp.jabber.test"),
    "ejabberd.ocs.test": ("sip.ocs.test", ALL, "xmpp.ejabberd.test"),
    **{f"{fault}.ejabberd.ocs.test": ("sip.ocs.test", ALL, "xmpp.ejabberd.test") for fault in FAULTS},
    "direct.ocs.test": ("sip.ocs.test", ALL, "gw.ocs.test"),
    "ua.test": ("ua.ua.test", ALL, "gw.ocs.test"),
    "tls.ua.test": ("ua.ua.test", TLS, "gw.ocs.test"),
    **{f"{label}.ua.test": ("ua.ua.test", SipRecords(tls=port), "gw.ocs.test") for label, port in FAULTY_PORTS.items()},
    "dead.ua.test": ("dead.dead.test", TCP, "gw.ocs.test"),
    "corp.test": ("edge.corp.test", SipRecords(edge=5061), "gw.ocs.test"),
}
KAMAILIO_DOMAINS = tuple(name for name in SIP_DOMAINS if name.endswith("ocs.test"))
UA_DOMAINS = tuple(name for name in SIP_DOMAINS if name.endswith("ua.test"))
COMPONENT_DOMAINS = {"prosody": "prosody.ocs.test", "ejabberd": "ejabberd.ocs.test"}  # by the server that federates for it
# Components of ejabberd over TLS, and the name by which its port is reached, whose certificate it shows there.
TLS_COMPONENTS = {COMPONENT_DOMAINS["ejabberd"]: "xmpp.ejabberd.test",
                  **{f"{fault}.ejabberd.ocs.test": f"{fault}.ejabberd.test" for fault in FAULTS}}
OCS_DOMAINS = ("corp.test",)  # of the stand-in for OCS

HOST_RECORDS: dict[str, tuple[str, ...]] = {
    "gw.ocs.test": (GATEWAY.v4,),
    "gw6.ocs.test": (GATEWAY.v6,),
    "sip.ocs.test": (KAMAILIO.v4,),
    "sip6.ocs.test": (KAMAILIO.v6,),
    "xmpp.jabber.test": (PROSODY.v4,),
    "xmpp6.jabber.test": (PROSODY.v6,),
    "xmpp.ejabberd.test": (EJABBERD.v4,),
    **{f"{fault}.ejabberd.test": (EJABBERD.v4,) for fault in FAULTS},
    "ua.ua.test": (v4(UA_SERVER),),
    "edge.corp.test": (v4(EDGE),),
    "users.lab.test": (USERS.v4, USERS.v6),
    "dead.dead.test": (v4(DEAD),),
    "dead6.dead.test": (v6(DEAD),),
}


def own_leaf(domain: str) -> str:
    """Which of FAULTS or NAMINGS the domain's certificate is; "" for the good one that its server has for the others."""
    return next((label for label in domain.split(".") if label in FAULTS or label in NAMINGS), "")


def dnsmasq_config(address4: str, address6: str) -> str:
    """The whole configuration: authoritative for `.test`, no upstream."""
    lines = ["no-resolv", "no-hosts", "no-daemon", "bind-interfaces", "cache-size=0", "local=/test/",
             f"listen-address={address4}", f"listen-address={address6}", f"local-ttl={TTL}", "log-facility=-",
             "log-queries"]
    for name, addresses in HOST_RECORDS.items():
        lines.append(f"host-record={name},{','.join(addresses)},{TTL}")
    for domain, (server, records, gateway) in XMPP_DOMAINS.items():
        lines.append(_xmpp("client", domain, server, (5222, 5223)))
        if not domain.startswith("closed."):
            lines.append(_xmpp("server", domain, server, (5269, 5270)))
        lines.extend(_sip(domain, gateway, records))
    for domain, (server, records, gateway) in SIP_DOMAINS.items():
        lines.append(_xmpp("server", domain, gateway, (5269, 5269)))
        lines.extend(_sip(domain, server, records))
    return "\n".join(lines) + "\n"


def _xmpp(whom: str, domain: str, server: str, ports: tuple[int, int]) -> str:
    """Where the domain's server is for a `client` or a `server`; `direct.` domains and those below them are found by
    direct TLS only, which is at the second port.
    """
    kind, port = (f"xmpps-{whom}", ports[1]) if "direct." in domain else (f"xmpp-{whom}", ports[0])
    return f"srv-host=_{kind}._tcp.{domain},{server},{port},0,5"


def _sip(domain: str, server: str, records: SipRecords) -> list[str]:
    rows = (("_sip._udp", records.udp), ("_sip._tcp", records.tcp), ("_sips._tcp", records.tls),
            ("_sipfederationtls._tcp", records.edge or records.tls))
    return [f"srv-host={label}.{domain},{server},{port},0,5" for label, port in rows if port is not None]
