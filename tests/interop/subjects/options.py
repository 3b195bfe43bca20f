"""What a case may ask of a gateway, in words that fit any gateway."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Options:
    """The `[gateway]` table of a case.

    xmpp_certificate: `any` (dialback proves a partner) or `verify` (its certificate must).
    xmpp_trust: `open` (certificate or dialback, as xmpp_certificate says), `external` (the certificate alone), `strict`
        (dialback alone, between good certificates) or `bidi` (good certificates, and one stream for both directions).
    sip_tls_client: `required` or `optional` client certificates on the SIP TLS listener.
    trust: `address` (SIP hosts may speak for their domains by their address) or `certificate` (only by mutual TLS).
    sip_domains: `named` each, or `found` by the DNS only.
    sip_route: `dns` (RFC 3263), or `udp`, `tcp`, `tls` to the domain's host.
    dialect: what the gateway is told about corp.test, the stand-in for OCS: `auto`, `ocs2007r2` or `lcs2005`.
    im: how texts go to the SIP domains that are no OCS: `page` (single messages), or `msrp` (sessions).
    msrp: `listen` for MSRP sessions, `dial` (no listener: it connects), or `off`.
    msrp_tls: `auto`, `always` or `never`.
    long_texts: what becomes of a text too long for a single message: `refuse`, `split` or `session`.
    conferences: a SIP domain whose users are rooms.
    component: the server, `prosody` or `ejabberd`, of which a SIP domain is a component, `prosody.ocs.test` or
        `ejabberd.ocs.test`; `tls` for `ejabberd.ocs.test` and the domains below it over TLS, each with the certificate
        of that name.
    account: a SIP user and the account of that user at an XMPP server, two addresses, and further domains that
        are reached so; more of them on lines of their own. The account is a user of the case, too, who is not online.
    edge_route: `next_hop` (the Edge by its name) or `dns` (its federation record).
    disk: what it keeps lies on a `large` disk, or on a `small` one of its own.
    """

    xmpp_certificate: str = "any"
    xmpp_trust: str = "open"
    sip_tls_client: str = "optional"
    trust: str = "address"
    sip_domains: str = "named"
    sip_route: str = "dns"
    dialect: str = "ocs2007r2"
    edge_route: str = "next_hop"
    im: str = "page"
    msrp: str = "listen"
    msrp_tls: str = "auto"
    long_texts: str = "refuse"
    conferences: str = ""
    component: str = ""
    account: str = ""
    disk: str = "large"

    @property
    def accounts(self) -> list[list[str]]:
        """The words of each account."""
        return [line.split() for line in self.account.splitlines() if line]


def read(table: dict[str, str]) -> Options:
    """Raises ValueError for a word that is no option."""
    unknown = set(table) - {field.name for field in fields(Options)}
    if unknown:
        raise ValueError(f"unknown gateway options: {', '.join(sorted(unknown))}")
    return Options(**table)
