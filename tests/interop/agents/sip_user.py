"""A scripted SIP user: page-mode messages, presence as a watcher, and PUBLISH or NOTIFY as a presentity.

A user of a registrar's domain registers and publishes there. A user of a domain that has no server (`serves`)
is that domain's presence server too: watchers ask, the script approves, denies and withdraws.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from xml.etree.ElementTree import ParseError

from agents import pidf
from agents.inbox import Inbox
from agents.pidf import Presence
from agents.sip_text import SipMessage, address, bare, parameter
from agents.sip_wire import Hop, Wire

PIDF_TYPE = "application/pidf+xml"
EXPIRES = 600


@dataclass
class Dialog:
    """One SUBSCRIBE dialog, seen from our side."""

    call_id: str
    local: str
    remote: str
    target: str
    event: str = "presence"
    routes: list[str] = field(default_factory=list)
    cseq: int = 0
    confirmed: bool = False
    over: bool = False

    def request(self, method: str, contact: str) -> SipMessage:
        self.cseq += 1
        message = SipMessage(method=method, uri=self.target)
        for route in self.routes:
            message.add("Route", route)
        message.add("Max-Forwards", "70").add("From", self.local).add("To", self.remote)
        message.add("Call-ID", self.call_id).add("CSeq", f"{self.cseq} {method}").add("Contact", contact)
        return message.add("Event", self.event) if self.event else message


def route_set(message: SipMessage) -> list[str]:
    """The route set that a request or a response makes (RFC 3261 §12.1), whole values as they came."""
    routes = [part.strip() for value in message.all("Record-Route") for part in value.split(",")]
    return routes if message.is_request else routes[::-1]


@dataclass
class Watcher:
    """Somebody who watches us (only where we are our domain's presence server)."""

    dialog: Dialog
    approved: bool = False


class SipUser:
    """One user agent. What it sees goes into `inbox`; what it knows of contacts into `seen`."""

    allow = "MESSAGE, NOTIFY, SUBSCRIBE, OPTIONS"

    def __init__(self, user: str, wire: Wire, hop: Hop, serves: bool) -> None:
        self.user = user
        self.uri = f"sip:{user}"
        self.wire = wire
        self.hop = hop
        self.serves = serves
        self.inbox = Inbox()
        self.seen: dict[str, Presence] = {}
        self.subscriptions: dict[str, str] = {}
        self.mine = Presence("open")
        self.finals: dict[str, SipMessage] = {}
        self.approved: set[str] = set()
        self.watchers: dict[str, Watcher] = {}
        self._dialogs: dict[str, Dialog] = {}
        self._etag = ""
        self._registered = f"{secrets.token_hex(6)}@{wire.host}"
        self._cseq = 0
        self._tasks: set[asyncio.Task[None]] = set()
        wire.on_request = self.answer

    @property
    def contact(self) -> str:
        user = self.user.partition("@")[0]
        port = self.wire.port + 1 if self.hop.transport == "tls" else self.wire.port
        transport = "" if self.hop.transport == "udp" else f";transport={self.hop.transport}"
        return f"<sip:{user}@{self.wire.shown_host}:{port}{transport}>"

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.wire.close()

    # What the user does.

    async def register(self, expires: int = EXPIRES) -> None:
        """Raises RuntimeError when the registrar refuses."""
        domain = self.user.partition("@")[2]
        request = self._request("REGISTER", f"sip:{domain}", self.uri, self._registered)
        request.add("Contact", self.contact).add("Expires", str(expires))
        response = await self.wire.request(request, self.hop)
        if response.status != 200:
            raise RuntimeError(f"REGISTER of {self.user}: {response.status} {response.reason}")

    def message(self, peer: str, text: str) -> None:
        """Send one text; its final response becomes a `final` event."""
        self._spawn(self._message(peer, text))

    async def _message(self, peer: str, text: str) -> None:
        request = self._request("MESSAGE", f"sip:{peer}", f"sip:{peer}", secrets.token_hex(10))
        request.add("Content-Type", "text/plain;charset=UTF-8")
        request.body = text.encode()
        response = await self.wire.request(request, self.hop)
        self.finals[text] = response
        self.inbox.put("final", peer, status=str(response.status), text=text, reason=response.reason)

    async def publish(self, presence: Presence) -> None:
        """Show a new state: PUBLISH to the presence server, or NOTIFY our watchers ourselves."""
        self.mine = presence
        if self.serves:
            for watcher in self.watchers.values():
                if watcher.approved:
                    self._notify(watcher, f"active;expires={EXPIRES}")
            return
        request = self._request("PUBLISH", self.uri, self.uri, secrets.token_hex(10))
        request.add("Event", "presence").add("Expires", str(EXPIRES))
        if self._etag:
            request.add("SIP-If-Match", self._etag)
        request.add("Content-Type", PIDF_TYPE)
        request.body = self._document(presence)
        response = await self.wire.request(request, self.hop)
        if response.status != 200:
            raise RuntimeError(f"PUBLISH of {self.user}: {response.status} {response.reason}")
        self._etag = response.get("SIP-ETag")

    def subscribe(self, peer: str, expires: int = EXPIRES) -> None:
        """Watch somebody; the answer becomes a `subscribe-final` event."""
        dialog = Dialog(secrets.token_hex(10), f"<{self.uri}>;tag={secrets.token_hex(4)}", f"<sip:{peer}>",
                        f"sip:{peer}")
        self._dialogs[peer] = dialog
        self._spawn(self._subscribe(peer, dialog, expires))

    def unsubscribe(self, peer: str) -> None:
        self._spawn(self._subscribe(peer, self._dialogs[peer], 0))

    async def _subscribe(self, peer: str, dialog: Dialog, expires: int) -> None:
        request = dialog.request("SUBSCRIBE", self.contact)
        request.add("Accept", PIDF_TYPE).add("Expires", str(expires))
        response = await self.wire.request(request, self.hop)
        if 200 <= response.status < 300 and expires:
            self._confirm(dialog, response.get("To"), response)
        self.inbox.put("subscribe-final", peer, status=str(response.status))

    @staticmethod
    def _confirm(dialog: Dialog, remote: str, message: SipMessage) -> None:
        """The first 2xx or NOTIFY makes the dialog: remote tag, target, route set (RFC 6665 §4.4.1)."""
        if dialog.confirmed:
            return
        dialog.confirmed = True
        dialog.remote = remote
        dialog.target = address(message.get("Contact")) or dialog.target
        dialog.routes = route_set(message)

    # What others do to the user.

    def answer(self, request: SipMessage) -> SipMessage | None:
        """The response to a request, once; the wire repeats it for retransmissions."""
        actions: dict[str, Callable[[SipMessage], SipMessage]] = {
            "MESSAGE": self._on_message, "NOTIFY": self._on_notify, "SUBSCRIBE": self._on_subscribe,
            "OPTIONS": lambda request: self._respond(request, 200, "OK")}
        action = actions.get(request.method)
        if action is None:
            return None if request.method == "ACK" else self._respond(request, 405, "Method Not Allowed")
        return action(request)

    def _on_message(self, request: SipMessage) -> SipMessage:
        kind = request.get("Content-Type").partition(";")[0].strip().lower()
        peer = bare(address(request.get("From")))
        if kind == "text/plain":
            text = request.body.decode(errors="replace")
            self.inbox.put("message", peer, text=text, id=f"{request.get('Call-ID')} {request.get('CSeq')}")
        elif kind != "application/im-iscomposing+xml":
            return self._respond(request, 415, "Unsupported Media Type").add("Accept", "text/plain")
        return self._respond(request, 200, "OK")

    def _on_notify(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        dialog = self._dialogs.get(peer)
        if dialog is None or dialog.call_id != request.get("Call-ID") or dialog.over:
            return self._respond(request, 481, "Subscription does not exist")
        missing = [name for name in ("Event", "Subscription-State", "Contact") if not request.get(name)]
        if missing:
            self.wire.complaints.append(f"NOTIFY to {self.user} without {', '.join(missing)}")
            return self._respond(request, 400, "Bad Request")
        self._confirm(dialog, request.get("From"), request)
        self._take_state(peer, dialog, request)
        return self._respond(request, 200, "OK")

    def _take_state(self, peer: str, dialog: Dialog, request: SipMessage) -> None:
        state = request.get("Subscription-State")
        word = state.partition(";")[0].strip().lower()
        reason = parameter(state, "reason")
        dialog.over = word == "terminated"
        self.subscriptions[peer] = f"{word}:{reason}" if reason else word
        if request.body:
            try:
                self.seen[peer] = pidf.read(request.body)
            except (ParseError, ValueError) as error:
                self.wire.complaints.append(f"presence document to {self.user}: {error}")
        self.inbox.ring()

    def _on_subscribe(self, request: SipMessage) -> SipMessage:
        if not self.serves:
            return self._respond(request, 405, "Method Not Allowed")
        peer = bare(address(request.get("From")))
        if parameter(request.get("To"), "tag"):
            return self._on_refresh(peer, request)
        if request.get("Event") != "presence":
            return self._respond(request, 489, "Bad Event").add("Allow-Events", "presence")
        response = self._respond(request, 200, "OK")
        expires = request.get("Expires", "3600")
        response.add("Expires", expires).add("Contact", self.contact)
        dialog = Dialog(request.get("Call-ID"), response.get("To"), request.get("From"),
                        address(request.get("Contact")), routes=route_set(request), confirmed=True)
        watcher = Watcher(dialog, approved=peer in self.approved)
        if expires != "0":
            self.watchers[peer] = watcher
            self.inbox.put("watcher", peer)
            state = f"{'active' if watcher.approved else 'pending'};expires={expires}"
        else:
            state = "terminated;reason=timeout"
        self._soon(watcher, state)
        return response

    def _on_refresh(self, peer: str, request: SipMessage) -> SipMessage:
        watcher = self.watchers.get(peer)
        if watcher is None or watcher.dialog.call_id != request.get("Call-ID") or watcher.dialog.over:
            return self._respond(request, 481, "Subscription does not exist")
        expires = request.get("Expires", "3600")
        response = self._respond(request, 200, "OK").add("Expires", expires).add("Contact", self.contact)
        if expires == "0":
            del self.watchers[peer]
            self.inbox.put("watcher-gone", peer)
            self._soon(watcher, "terminated;reason=timeout")
        else:
            state = "active" if watcher.approved else "pending"
            self._soon(watcher, f"{state};expires={expires}")
        return response

    # What a presence server decides.

    def approve(self, peer: str) -> None:
        self.approved.add(peer)
        self.watchers[peer].approved = True
        self._notify(self.watchers[peer], f"active;expires={EXPIRES}")

    def refuse(self, peer: str) -> None:
        """Deny a request, or withdraw an approval."""
        self.approved.discard(peer)
        watcher = self.watchers.pop(peer)
        watcher.approved = False
        self._notify(watcher, "terminated;reason=rejected")

    def _soon(self, watcher: Watcher, state: str) -> None:
        """NOTIFY behind the response that is being made."""
        asyncio.get_running_loop().call_soon(self._notify, watcher, state)

    def _notify(self, watcher: Watcher, state: str) -> None:
        request = watcher.dialog.request("NOTIFY", self.contact).add("Subscription-State", state)
        watcher.dialog.over = state.startswith("terminated")
        if watcher.approved:
            request.add("Content-Type", PIDF_TYPE)
            request.body = self._document(self.mine)
        self._spawn(self._deliver(watcher, request))

    async def _deliver(self, watcher: Watcher, request: SipMessage) -> None:
        response = await self.wire.request(request, self.hop)
        peer = bare(address(watcher.dialog.remote))
        if response.status == 481 and self.watchers.get(peer) is watcher:
            del self.watchers[peer]

    # Shared parts.

    def _document(self, presence: Presence) -> bytes:
        return pidf.write(self.uri, presence)

    def _request(self, method: str, uri: str, to: str, call_id: str) -> SipMessage:
        self._cseq += 1
        message = SipMessage(method=method, uri=uri).add("Max-Forwards", "70")
        message.add("From", f"<{self.uri}>;tag={secrets.token_hex(4)}").add("To", f"<{to}>")
        return message.add("Call-ID", call_id).add("CSeq", f"{self._cseq} {method}")

    def _respond(self, request: SipMessage, status: int, reason: str) -> SipMessage:
        response = SipMessage(status=status, reason=reason)
        for name in ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq"):
            for value in request.all(name):
                if name == "To" and not parameter(value, "tag"):
                    value += f";tag={secrets.token_hex(4)}"
                response.add(name, value)
        return response.add("Allow", self.allow)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
