"""Instant messages between clients and partners: requests pass, and what concerns one hop alone stays there."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.sip_text import SipMessage, address, bare, parameter
from ocs.accounts import Account
from ocs.edge import Edge
from ocs.exchange import Link, pop_via, respond, without

if TYPE_CHECKING:
    from ocs.home import Home

NO_PAGES = '1027;reason="Cannot route this type of SIP request to or from federated partners";source="{name}"'
TRUST = "ms-source-type=AutoFederation;ms-ep-fqdn={name};ms-source-verified-user=verified;ms-source-network=federation"


@dataclass
class Offer:
    """An INVITE under way: what a CANCEL or the ACK to a refusal needs."""

    request: SipMessage
    branch: str
    outwards: bool
    domain: str = ""
    account: Account | None = None


class Talks:
    """The proxy for everything but presence."""

    def __init__(self, home: Home, edge: Edge) -> None:
        self.home = home
        self.edge = edge
        self._owners: dict[str, Account] = {}
        self._offers: dict[str, Offer] = {}
        self._forks: dict[str, str] = {}

    # From our clients.

    def from_client(self, link: Link, request: SipMessage, account: Account) -> None:
        if request.method == "CANCEL":
            self._cancelled(link, request)
            return
        to = bare(address(request.get("To")))
        onward = without(_hop(request), "Route")
        if self.home.is_ours(to):  # sipe asks for a group chat server; there are no other users at home
            if request.method != "ACK":
                link.write(respond(request, 404, "Not Found"))
        elif request.method == "ACK":
            self.edge.send(onward, to.partition("@")[2], lambda response: None)
        elif request.method == "INVITE":
            self._owners[request.get("Call-ID")] = account
            self._invite(link, request, onward, to.partition("@")[2])
        else:
            _stamp(onward, link)
            self.edge.send(onward, to.partition("@")[2], link.write)

    def _invite(self, link: Link, request: SipMessage, onward: SipMessage, domain: str) -> None:
        link.write(respond(request, 100, "Trying"))
        _stamp(onward, link)

        def answered(response: SipMessage) -> None:
            if response.status == 100:
                return
            if response.status >= 200:
                self._offers.pop(_key(request), None)
                self._acknowledge_refusal(onward, response, domain, branch)
            link.write(response)

        branch = self.edge.send(onward, domain, answered)
        self.edge.remember(request.get("Call-ID"), address(request.get("Contact")),
                           parameter(request.get("From"), "epid"))
        self._offers[_key(request)] = Offer(onward, branch, True, domain)

    def _acknowledge_refusal(self, invite: SipMessage, response: SipMessage, domain: str, branch: str) -> None:
        """The ACK to a refused INVITE is the last proxy's to send."""
        if response.status >= 300 and self.edge.serves(domain) is not None:
            self.edge.send(_ack(invite, response), domain, lambda response: None, branch)

    # From partners.

    def in_dialog(self, link: Link, request: SipMessage) -> bool:
        """Handle a request that belongs to a session or to an INVITE under way."""
        if request.method == "CANCEL":
            self._cancelled(link, request)
            return True
        if parameter(request.get("To"), "tag") in self._forks:
            self._at_fork(link, request)
            return True
        account = self._owners.get(request.get("Call-ID"))
        if account is None or not parameter(request.get("To"), "tag"):
            return False
        if request.method == "ACK" and _key(request) in self._offers:
            return True
        self._to_client(link, request, account)
        return True

    def from_partner(self, link: Link, request: SipMessage, account: Account) -> None:
        """A request outside of any session."""
        if request.method == "MESSAGE":
            response = respond(request, self.edge.settings.page_mode, "No page mode")
            response.add("Allow", "INVITE, SUBSCRIBE, OPTIONS")
            link.write(response.add("ms-diagnostics-public", NO_PAGES.format(name=self.edge.name)))
        elif request.method in ("INVITE", "OPTIONS"):
            self._owners[request.get("Call-ID")] = account
            self._to_client(link, request, account)
        elif request.method != "ACK":
            link.write(respond(request, 481, "Call Leg/Transaction Does Not Exist"))

    def _to_client(self, link: Link, request: SipMessage, account: Account) -> None:
        device = account.device
        if device is None:
            if request.method != "ACK":
                link.write(respond(request, 480, "Temporarily Unavailable"))
            return
        onward = _hop(request)
        onward.uri = device.contact
        onward.add("ms-edge-proxy-message-trust", TRUST.format(name=self.edge.name))
        if request.method == "INVITE":
            link.write(respond(request, 100, "Trying"))

        def answered(response: SipMessage) -> None:
            pop_via(response)
            if request.method == "INVITE":
                self._invited(link, request, response)
            else:
                link.write(response)

        branch = self.home.exchange.send(device.link, onward, answered)
        if request.method == "INVITE":
            self._offers[_key(request)] = Offer(onward, branch, False, account=account)

    def _invited(self, link: Link, request: SipMessage, response: SipMessage) -> None:
        """Our client's answer to a partner's INVITE, which the partner may hear later."""
        if response.status == 100:
            return
        if self.edge.settings.rings:
            progress = respond(request, 101, "Progress Report")
            link.write(progress.add("ms-diagnostics", '13004;reason="Request was proxied to one or more endpoints"'))
        asyncio.get_running_loop().call_later(self.edge.settings.rings, self._answer, link, request, response)

    def _answer(self, link: Link, request: SipMessage, response: SipMessage) -> None:
        if 200 <= response.status < 300:
            self._offers.pop(_key(request), None)
            self.edge.remember(request.get("Call-ID"), address(response.get("Contact")),
                               parameter(response.get("To"), "epid"))
        link.write(response)
        if 200 <= response.status < 300 and self.edge.settings.forks:
            self._fork(link, response)

    def _fork(self, link: Link, response: SipMessage) -> None:
        """The same answer from another device."""
        tag = secrets.token_hex(5)
        self.edge.fork(response.get("Call-ID"), tag)
        other = SipMessage(status=200, reason="OK", body=response.body)
        for name, value in response.headers:
            if name.lower() == "to":
                value = f"<{address(value)}>;tag={tag}"
            elif name.lower() == "contact":
                value = f"<{address(value).replace(':epid:', ':epid:OTHER-')}>"
            other.add(name, value)
        self._forks[tag] = address(other.get("Contact"))
        link.write(other)

    def _at_fork(self, link: Link, request: SipMessage) -> None:
        """Whatever comes for the other device: it is to be acknowledged and let go."""
        tag = parameter(request.get("To"), "tag")
        if request.uri != self._forks[tag]:
            self.edge.fault(f"{request.method} to {request.uri}, not to {self._forks[tag]}")
        if request.method == "BYE":
            self.edge.inbox.put("fork-ended", bare(address(request.get("From"))))
            link.write(respond(request, 200, "OK"))
        elif request.method != "ACK":
            self.edge.fault(f"{request.method} for a device that should have been let go")
            link.write(respond(request, 481, "Call Leg/Transaction Does Not Exist"))

    def _cancelled(self, link: Link, request: SipMessage) -> None:
        offer = self._offers.get(_key(request))
        if offer is None:
            link.write(respond(request, 481, "Call Leg/Transaction Does Not Exist"))
            return
        link.write(respond(request, 200, "OK"))
        cancel = SipMessage(method="CANCEL", uri=offer.request.uri)
        for name, value in offer.request.headers:
            if name.lower() in ("from", "to", "call-id", "max-forwards"):
                cancel.add(name, value)
        cancel.add("CSeq", f"{offer.request.cseq[0]} CANCEL")
        if offer.outwards:
            self.edge.send(cancel, offer.domain, lambda response: None, offer.branch)
        elif offer.account is not None and offer.account.device is not None:
            self.home.exchange.send(offer.account.device.link, cancel, lambda response: None, offer.branch)


def _hop(request: SipMessage) -> SipMessage:
    """A copy for the next hop, one hop nearer to its end."""
    copy = SipMessage(request.method, request.uri, headers=list(request.headers), body=request.body)
    copy.headers = [(name, str(int(value) - 1) if name.lower() == "max-forwards" else value)
                    for name, value in copy.headers]
    return copy


def _stamp(request: SipMessage, link: Link) -> None:
    """What a server notes in the client's Via."""
    for index, (name, value) in enumerate(request.headers):
        if name.lower() == "via":
            request.headers[index] = (name, f"{value};ms-received-port={link.peer[1]};ms-received-cid=1A00")
            return


def _key(request: SipMessage) -> str:
    """What an INVITE, its CANCEL and its ACK have in common."""
    return f"{request.get('Call-ID')} {request.cseq[0]} {parameter(request.get('From'), 'tag')}"


def _ack(invite: SipMessage, response: SipMessage) -> SipMessage:
    ack = SipMessage(method="ACK", uri=invite.uri).add("Max-Forwards", "70").add("From", invite.get("From"))
    ack.add("To", response.get("To")).add("Call-ID", invite.get("Call-ID"))
    return ack.add("CSeq", f"{invite.cseq[0]} ACK")
