"""Messages outside of sessions as a modern user agent writes and reads them: CPIM, IMDN, isComposing."""

from __future__ import annotations

import secrets

from agents.sip_text import SipMessage, address, bare
from agents.sip_user import SipUser
from agents.sip_wire import Hop, Wire
from msrp import bodies
from msrp.settings import Settings
from msrp.wire import Fault


class PageUser(SipUser):
    """A SIP user whose single messages may be wrapped, ask for notifications and say who types."""

    def __init__(self, user: str, wire: Wire, hop: Hop, serves: bool, settings: Settings) -> None:
        super().__init__(user, wire, hop, serves)
        self.settings = settings
        self._asked: dict[str, str] = {}
        self._unread: list[tuple[str, str, str]] = []
        self._typing_peers: set[str] = set()

    # What the user does.

    def page(self, peer: str, text: str, *wishes: str) -> None:
        """One text; with wishes (`receipt`, `display`) in a wrapper that asks for them. Its outcome is a `final`."""
        if not wishes:
            self._spawn(SipUser._message(self, peer, text))
            return
        names = {"receipt": "positive-delivery", "display": "display"}
        message_id = secrets.token_hex(8)
        self._asked[message_id] = text
        wrapped = bodies.wrap(self.uri, f"sip:{peer}", text.encode(), "text/plain;charset=UTF-8",
                              ", ".join(names[wish] for wish in wishes), message_id)
        self._spawn(self._send(peer, wrapped.encode(), bodies.CPIM, text))

    def page_typing(self, peer: str, state: str) -> None:
        self._spawn(self._send(peer, bodies.composing(state, 60 if state == "active" else 0), bodies.COMPOSING, ""))

    def page_read(self, peer: str) -> None:
        """Tell who wished to know that their texts have been displayed."""
        for who, message_id, sender in self._unread:
            if who == peer:
                self._notify(peer, bodies.Disposition(message_id, "display", "displayed"), sender)
        self._unread = [entry for entry in self._unread if entry[0] != peer]

    async def _send(self, peer: str, body: bytes, kind: str, text: str) -> None:
        request = self._request("MESSAGE", f"sip:{peer}", f"sip:{peer}", secrets.token_hex(10))
        request.add("Content-Type", kind).body = body
        response = await self.wire.request(request, self.hop)
        if text:
            self.inbox.put("final", peer, status=str(response.status), text=text, reason=response.reason)

    def _notify(self, peer: str, disposition: bodies.Disposition, sender: str) -> None:
        wrapped = bodies.wrap(self.uri, sender, bodies.imdn(disposition, self.uri), bodies.IMDN,
                              message_id=secrets.token_hex(8))
        wrapped.inner.append(("Content-Disposition", "notification"))
        self._spawn(self._send(peer, wrapped.encode(), bodies.CPIM, ""))

    # What comes.

    def _on_message(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        kind = request.get("Content-Type").partition(";")[0].strip().lower()
        if kind not in self.settings.page.split():
            return self._respond(request, 415, "Unsupported Media Type").add(
                "Accept", ", ".join(self.settings.page.split()))
        if request.all("Contact"):
            self._breach("3428 §4: Contact in a MESSAGE")
        wrapped = bodies.Wrapped(inner=[("Content-Type", kind)], body=request.body)
        try:
            if kind == bodies.CPIM:
                wrapped = bodies.unwrap(request.body)
                self._same_people(request, wrapped)
            self._understand(peer, wrapped)
        except (Fault, UnicodeDecodeError) as fault:
            self._breach(str(fault))
            return self._respond(request, 400, "Bad Request")
        return self._respond(request, 200, "OK")

    def _breach(self, text: str) -> None:
        self.wire.ladder.note(self.wire.label, "fault", text)
        self.wire.complaints.append(f"{self.user}: {text}")

    def _same_people(self, request: SipMessage, wrapped: bodies.Wrapped) -> None:
        """The wrapper names who the request names (RFC 3428 §11.5)."""
        for name in ("From", "To"):
            if wrapped.get(name) and bare(wrapped.uri(name)) != bare(address(request.get(name))):
                self._breach(f"3428 §11.5: {name} of the wrapper is {wrapped.get(name)}, not {request.get(name)}")

    def _understand(self, peer: str, wrapped: bodies.Wrapped) -> None:
        kind = wrapped.kind.partition(";")[0].strip().lower()
        if kind == bodies.COMPOSING:
            self._page_typed(peer, bodies.read_composing(wrapped.body) == "active")
        elif kind == bodies.IMDN:
            self._page_imdn(peer, wrapped)
        else:
            text = wrapped.body.decode()
            self._typing_peers.discard(peer)
            self.inbox.put("message", peer, text=text if kind == "text/plain" else f"({kind}) {text}")
            wishes, message_id = wrapped.get("Disposition-Notification"), wrapped.get("Message-ID")
            if "positive-delivery" in wishes:
                self._notify(peer, bodies.Disposition(message_id, "delivery", "delivered"), wrapped.uri("From"))
            if "display" in wishes:
                self._unread.append((peer, message_id, wrapped.uri("From")))

    def _page_typed(self, peer: str, typing: bool) -> None:
        if typing != (peer in self._typing_peers):
            self.inbox.put("typing" if typing else "typing-stopped", peer)
        (self._typing_peers.add if typing else self._typing_peers.discard)(peer)

    def _page_imdn(self, peer: str, wrapped: bodies.Wrapped) -> None:
        found = bodies.read_imdn(wrapped.body)
        if wrapped.get("Disposition-Notification"):
            self._breach("5438 §8: an IMDN that asks for an IMDN")
        text = self._asked.get(found.message_id)
        if text is None:
            self._breach(f"5438 §8: an IMDN about {found.message_id!r}, which we did not send")
        else:
            self.inbox.put(found.word, peer, text=text)
