"""The home server: registrar, roaming data and publishing for its clients, and the way between them and federation."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable
from xml.etree.ElementTree import Element, ParseError

from agents.ladder import Ladder
from agents.sip_text import Malformed, SipMessage, address, bare, parameter
from ocs import documents
from ocs.accounts import Account, Device, Dialog
from ocs.documents import local, text
from ocs.edge import Edge
from ocs.exchange import Exchange, Link, respond
from ocs.talks import Talks
from ocs.watching import Watching

PORT = 5060
TRIES = 3  # wrong passwords until the door is closed
EVENTS = ("vnd-microsoft-provisioning", "vnd-microsoft-roaming-contacts", "vnd-microsoft-roaming-ACL", "presence",
          "presence.wpending", "vnd-microsoft-roaming-self", "vnd-microsoft-provisioning-v2")
ROAMING = "application/vnd-microsoft-roaming-self+xml"
SELF = "http://schemas.microsoft.com/2006/09/sip"


class Home:
    """All users of one domain. Clients come by TCP, partners through the Edge."""

    def __init__(self, domain: str, host: str, edge: Edge, ladder: Ladder) -> None:
        self.domain = domain
        self.host = host
        self.edge = edge
        self.accounts: dict[str, Account] = {}
        self.exchange = Exchange("pool", f"SIP/2.0/tcp {host}:{PORT}", ladder, branches=False)
        self.exchange.on_request = self._request
        self.exchange.on_lost = self._lost
        self.watching = Watching(self, edge)
        self.talks = Talks(self, edge)
        self._nonces: dict[Link, list[str]] = {}
        self._server: asyncio.Server | None = None
        edge.inside = self

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self.exchange), self.host, PORT)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.exchange.close()

    def add(self, account: Account) -> None:
        self.accounts[account.user] = account

    def is_ours(self, user: str) -> bool:
        return user.partition("@")[2] == self.domain

    # From clients.

    def _request(self, link: Link, request: SipMessage) -> None:
        try:
            account = self.accounts.get(bare(address(request.get("From"))))
            if account is None and request.method == "SERVICE":  # a directory search comes from the domain
                account = next((one for one in self.accounts.values() if one.device and one.device.link is link), None)
            if account is None:
                link.write(respond(request, 404, "Not Found"))
            elif request.method == "REGISTER":
                self._register(link, request, account)
            elif account.device is None or account.device.link is not link:
                link.write(respond(request, 403, "Forbidden"))
            else:
                self._from_client(link, request, account)
        except (Malformed, ParseError, ValueError) as error:
            self.exchange.complain(f"cannot make sense of {request.method}: {error!r}")
            link.write(respond(request, 400, "Bad Request"))

    def _from_client(self, link: Link, request: SipMessage, account: Account) -> None:
        if request.method == "SUBSCRIBE":
            self._subscribe(link, request, account)
        elif request.method == "SERVICE":
            self._service(link, request, account)
        else:
            self.talks.from_client(link, request, account)

    def _lost(self, link: Link) -> None:
        self._nonces.pop(link, None)
        for account in self.accounts.values():
            if account.device is not None and account.device.link is link:
                self._sign_off(account)

    # Signing on and off.

    def _register(self, link: Link, request: SipMessage, account: Account) -> None:
        if not self._proved(link, request, account):
            self._challenge(link, request)
        elif request.get("Expires") == "0":
            link.write(respond(request, 200, "OK").add("Expires", "0"))
            self._sign_off(account)
        else:
            self._sign_on(link, request, account)

    def _challenge(self, link: Link, request: SipMessage) -> None:
        tries = self._nonces.setdefault(link, [])
        if len(tries) > TRIES:
            link.write(respond(request, 403, "Forbidden").add("ms-diagnostics", '1000;reason="Wrong password"'))
            return
        tries.append(secrets.token_hex(8))
        challenge = f'Digest realm="{self.domain}", nonce="{tries[-1]}", qop="auth", algorithm=MD5'
        link.write(respond(request, 407, "Proxy Authentication Required").add("Proxy-Authenticate", challenge))

    def _sign_on(self, link: Link, request: SipMessage, account: Account) -> None:
        """The 200 decides what kind of server the client believes to have found."""
        device = self._device(link, request, account)
        contact = f'<{device.contact}>;expires=7200;+sip.instance="{device.instance}";gruu="{device.gruu}"'
        response = respond(request, 200, "OK").add("Expires", "7200").add("Contact", contact)
        response.add("Allow-Events", ",".join(EVENTS))
        if account.mode != 2005:
            response.add("Supported", "msrtc-event-categories")
        response.add("Supported", "adhoclist")
        response.add("ms-keep-alive", "UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300")
        link.write(response.add("Server", "RTC/3.5" if account.mode != 2005 else "RTC/2.0"))
        if account.device is None or account.device.link is not link:
            account.device = device

    def _proved(self, link: Link, request: SipMessage, account: Account) -> bool:
        """Digest, with the `uri` as the client writes it: sipe writes "(null)"."""
        if account.device is not None and account.device.link is link:
            return True  # sipe signs off without proof
        proof = request.get("Proxy-Authorization")
        fields = {name.lower(): value.strip('"') for name, value in
                  re.findall(r'([\w-]+)=("[^"]*"|[^,\s]+)', proof.partition(" ")[2])}
        if fields.get("nonce") not in self._nonces.get(link, ()):
            return False
        secret = f"{fields.get('username', '')}:{self.domain}:{account.password}"
        asked = f"REGISTER:{fields.get('uri', '')}"
        middle = ":".join(fields.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return fields.get("response") == _md5(f"{_md5(secret)}:{middle}:{_md5(asked)}")

    def _device(self, link: Link, request: SipMessage, account: Account) -> Device:
        contact = request.get("Contact")
        found = re.search(r'\+sip\.instance="([^"]*)"', contact)
        epid = parameter(request.get("From"), "epid")
        return Device(link, address(contact), found[1] if found else "",
                      f"sip:{account.user};opaque=user:epid:{epid.upper()}-AAAA;gruu", epid)

    def _sign_off(self, account: Account) -> None:
        account.sign_off()
        self.watching.unwatch_all(account)
        self.watching.changed(account)

    # Subscriptions of clients to their own server.

    def _subscribe(self, link: Link, request: SipMessage, account: Account) -> None:
        event = request.get("Event")
        if event not in EVENTS:
            link.write(respond(request, 489, "Bad Event"))
            return
        response = respond(request, 200, "OK")
        response.add("Contact", f"<sip:pool.{self.domain}:{PORT};transport=tcp>").add("Event", event)
        if request.get("Expires") == "0" and not event.startswith("vnd-microsoft-provisioning"):
            self._unsubscribe(event, response, account)
        else:
            self._open(event, request, response, account)
        link.write(response)
        if event == "presence" and request.get("Expires") != "0":
            to = bare(address(request.get("To")))
            self.watching.watch_all(account, _resources(request.body) if request.body else [to])

    @staticmethod
    def _unsubscribe(event: str, response: SipMessage, account: Account) -> None:
        if account.device is not None:
            account.device.dialogs.pop(event, None)
        response.add("Expires", "0").add("subscription-state", "terminated;expires=0")

    def _open(self, event: str, request: SipMessage, response: SipMessage, account: Account) -> None:
        """Keep the dialog, and let the first document ride in the 200 where there is one."""
        call_id = request.get("Call-ID")
        dialogs = account.device.dialogs if account.device is not None else {}
        if event not in dialogs or dialogs[event].call_id != call_id:
            dialogs[event] = Dialog(event, call_id, response.get("To"), request.get("From"))
        kind, body = self._first_notice(event, account, request)
        response.add("subscription-state", "active;expires=28800").add("Expires", "28800")
        if body:
            response.add("ms-piggyback-cseq", "1").add("Content-Type", kind)
            response.body = body

    def _first_notice(self, event: str, account: Account, request: SipMessage) -> tuple[str, bytes]:
        """The document that rides in the 200."""
        if event == "vnd-microsoft-roaming-contacts":
            return "application/vnd-microsoft-roaming-contacts+xml", account.contact_list()
        if event == "vnd-microsoft-provisioning-v2":
            return ("application/vnd-microsoft-roaming-provisioning-v2+xml",
                    f'<provisionGroupList xmlns="{SELF}/provisiongrouplist-notification"/>'.encode())
        if event == "vnd-microsoft-roaming-self":
            return self._roaming_self(account, self.watching.unknown_watchers(account))
        if event == "presence.wpending":
            return _pending(self.watching.unknown_watchers(account))
        if event == "vnd-microsoft-roaming-ACL":
            return ("application/vnd-microsoft-roaming-acls+xml", b'<ACLlist deltaNum="1"/>')
        if event == "presence" and account.mode == 2005 and account.user in _resources(request.body):
            # Its own state is what makes the client publish.
            state = account.state_for(account.user)
            return documents.MSRTC, documents.write(documents.MSRTC, account.user, account.name, state)
        return "", b""

    def _roaming_self(self, account: Account, watchers: list[str]) -> tuple[str, bytes]:
        return ROAMING, _roaming_data(
            f'<categories xmlns="{SELF}/categories" uri="sip:{account.user}"/>'
            f'<containers xmlns="{SELF}/containers">{account.containers()}</containers>{_subscribers(watchers)}')

    def _roaming(self, account: Account, what: str) -> None:
        self.notice(account, "vnd-microsoft-roaming-self", ROAMING, _roaming_data(what))

    def notice(self, account: Account, event: str, kind: str, body: bytes) -> None:
        """BENOTIFY to the user's client, where it is signed on and has asked for this."""
        device = account.device
        dialog = device.dialogs.get(event) if device is not None else None
        if device is not None and dialog is not None:
            self.exchange.send(device.link, dialog.notice(device.contact, kind, body), lambda response: None)

    def tell_of_watcher(self, account: Account, watcher: str) -> None:
        """Somebody has added the user: OCS says so, LCS 2005 asks."""
        if account.mode == 2005:
            self.notice(account, "presence.wpending", *_pending([watcher]))
        else:
            self._roaming(account, _subscribers([watcher]))

    async def round_trip(self, account: Account) -> None:
        """What the client was sent before has been dealt with when it answers OPTIONS."""
        if account.device is None:
            return
        answered = asyncio.Event()
        request = SipMessage(method="OPTIONS", uri=account.device.contact).add("Max-Forwards", "70")
        request.add("From", f"<sip:{self.domain}>;tag={secrets.token_hex(5)}").add("To", f"<sip:{account.user}>")
        request.add("Call-ID", secrets.token_hex(16)).add("CSeq", "1 OPTIONS")
        self.exchange.send(account.device.link, request, lambda response: answered.set())
        await answered.wait()

    # Commands of clients.

    def _service(self, link: Link, request: SipMessage, account: Account) -> None:
        kind = request.get("Content-Type").partition(";")[0].strip().lower()
        link.write(respond(request, 200, "OK"))
        if kind == "application/msrtc-category-publish+xml":
            for publication in documents.publications(request.body):
                account.publish(publication)
            self._presented(account)
        elif kind == "application/msrtc-setcontainermembers+xml":
            account.set_members(documents.parse(request.body))
            account.decided.set()
            self._roaming(account, f'<containers xmlns="{SELF}/containers">{account.containers()}</containers>')
            self.watching.changed(account)
        elif kind == "application/msrtc-presence-setsubscriber+xml":
            for element in documents.parse(request.body).iter():
                if local(element) == "subscriber" and element.get("acknowledged") == "true":
                    account.acknowledged.add(element.get("user", "").removeprefix("sip:"))
        elif kind == "application/soap+xml":
            self._soap(documents.parse(request.body), account)

    def _presented(self, account: Account) -> None:
        account.presented.set()
        self.watching.changed(account)

    def _soap(self, envelope: Element, account: Account) -> None:
        body = documents.find(envelope, "Body")
        if body is None or not len(body):
            return
        commands: dict[str, Callable[[Element, Account], None]] = {
            "setContact": self._set_contact, "deleteContact": self._delete_contact, "addGroup": self._add_group,
            "setPresence": self._set_presence, "setACE": self._set_ace}
        act = commands.get(local(body[0]))
        if act is not None:
            act(body[0], account)

    def _delta(self, account: Account, body: bytes) -> None:
        self.notice(account, "vnd-microsoft-roaming-contacts", "application/vnd-microsoft-roaming-contacts+xml", body)

    def _set_contact(self, command: Element, account: Account) -> None:
        self._delta(account, account.set_contact(command))

    def _delete_contact(self, command: Element, account: Account) -> None:
        uri = text(command, "URI").removeprefix("sip:")
        self._delta(account, account.delete_contact(uri))
        self.watching.unwatch(account, uri)

    def _add_group(self, command: Element, account: Account) -> None:
        self._delta(account, account.add_group(text(command, "name")))

    def _set_presence(self, command: Element, account: Account) -> None:
        account.set_presence(command)
        self._presented(account)

    def _set_ace(self, command: Element, account: Account) -> None:
        account.rights[text(command, "mask").removeprefix("sip:")] = text(command, "rights")
        account.decided.set()
        self.watching.changed(account)

    # From partners.

    def from_partner(self, link: Link, request: SipMessage) -> None:
        """What the Edge has let in."""
        if request.method in ("NOTIFY", "BENOTIFY"):
            self.watching.notified(link, request)
            return
        if self.watching.has_watcher(request.get("Call-ID")):
            self.watching.subscribed(link, request, None)
            return
        if self.talks.in_dialog(link, request):
            return
        account = self.accounts.get(bare(request.uri))
        if account is None:
            if request.method != "ACK":
                reason = f'1003;reason="User does not exist";source="{self.edge.name}"'
                link.write(respond(request, 404, "Not Found").add("ms-diagnostics", reason))
        elif request.method == "SUBSCRIBE":
            self.watching.subscribed(link, request, account)
        else:
            self.talks.from_partner(link, request, account)


def _roaming_data(what: str) -> bytes:
    return f'<roamingData xmlns="{SELF}/roaming-self">{what}</roamingData>'.encode()


def _subscribers(watchers: list[str]) -> str:
    people = "".join(f'<subscriber user="{who}" displayName="" acknowledged="false" type="federated"/>'
                     for who in watchers)
    return f'<subscribers xmlns="{SELF}/presence-subscribers">{people}</subscribers>'


def _md5(text_: str) -> str:
    return hashlib.md5(text_.encode()).hexdigest()


def _resources(body: bytes) -> list[str]:
    """The addresses in a batched SUBSCRIBE."""
    if not body:
        return []
    return [element.get("uri", "").removeprefix("sip:") for element in documents.parse(body).iter()
            if local(element) == "resource"]


def _pending(watchers: list[str]) -> tuple[str, bytes]:
    people = "".join(f'<watcher uri="sip:{who}" displayName=""/>' for who in watchers)
    return "text/xml+msrtc.wpending", f"<watchers>{people}</watchers>".encode() if people else b""
