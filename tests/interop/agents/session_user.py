"""A scripted SIP user that does what OCS wants of partners: INVITE sessions with typing, PIDF as OCS reads it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from agents import pidf
from agents.pidf import Presence
from agents.sip_text import SipMessage, address, bare
from agents.sip_user import Dialog, SipUser, route_set
from agents.sip_wire import Hop, Wire

SDP = ("v=0\r\no=- 0 0 IN IP4 {host}\r\ns=session\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
       "m=message {port} sip {whose}\r\na=accept-types:text/plain\r\n")
TYPING = '<?xml version="1.0"?><KeyboardActivity><status status="{word}"/></KeyboardActivity>'
GONE = (408, 480, 481, 503)


class SessionUser(SipUser):
    """Its messages open a session with the peer, or use the one there is."""

    allow = "INVITE, ACK, BYE, CANCEL, MESSAGE, INFO, NOTIFY, SUBSCRIBE, OPTIONS"

    def __init__(self, user: str, wire: Wire, hop: Hop, serves: bool) -> None:
        super().__init__(user, wire, hop, serves)
        self._sessions: dict[str, Dialog] = {}

    async def _message(self, peer: str, text: str) -> None:
        response = await self._deliver_text(peer, text)
        if response.status in GONE and peer in self._sessions:
            del self._sessions[peer]
            response = await self._deliver_text(peer, text)
        self.finals[text] = response
        self.inbox.put("final", peer, status=str(response.status), text=text, reason=response.reason)

    async def _deliver_text(self, peer: str, text: str) -> SipMessage:
        """MESSAGE in the session, which is opened first where there is none."""
        if peer not in self._sessions:
            response = await self._invite(peer)
            if response.status >= 300:
                return response
        request = self._sessions[peer].request("MESSAGE", self.contact).add("Content-Type", "text/plain; charset=UTF-8")
        request.body = text.encode()
        return await self.wire.request(request, self.hop)

    async def _invite(self, peer: str) -> SipMessage:
        dialog = Dialog(secrets.token_hex(10), f"<{self.uri}>;tag={secrets.token_hex(4)}", f"<sip:{peer}>",
                        f"sip:{peer}", event="")
        request = dialog.request("INVITE", self.contact).add("Content-Type", "application/sdp")
        request.body = self._sdp("null")
        response = await self.wire.request(request, self.hop)
        if 200 <= response.status < 300:
            self._confirm(dialog, response.get("To"), response)
            dialog.cseq -= 1
            await self.wire.send(dialog.request("ACK", self.contact), self.hop)
            self._sessions[peer] = dialog
        return response

    def typing(self, peer: str, word: str) -> None:
        """Say `type` or `idle` in the session."""
        request = self._sessions[peer].request("INFO", self.contact).add("Content-Type", "application/xml")
        request.body = TYPING.format(word=word).encode()
        self._spawn(self._inform(request))

    async def _inform(self, request: SipMessage) -> None:
        response = await self.wire.request(request, self.hop)
        if response.status != 200:
            self.wire.complaints.append(f"{self.user}: INFO answered {response.status}")

    def hang_up(self, peer: str) -> None:
        self._spawn(self._inform(self._sessions.pop(peer).request("BYE", self.contact)))

    def break_route(self, peer: str) -> None:
        """Forget what stands behind the URIs of the session's route set."""
        dialog = self._sessions[peer]
        dialog.routes = [route.partition(">")[0] + ">" for route in dialog.routes]

    def _sdp(self, whose: str) -> bytes:
        return SDP.format(host=self.wire.host, port=self.wire.port, whose=whose).encode()

    # What others do to the user.

    def answer(self, request: SipMessage) -> SipMessage | None:
        actions: dict[str, Callable[[SipMessage], SipMessage]] = {
            "INVITE": self._on_invite, "INFO": self._on_info, "BYE": self._on_bye,
            "NEGOTIATE": lambda request: self._respond(request, 405, "Method Not Allowed")}
        action = actions.get(request.method)
        return action(request) if action is not None else super().answer(request)

    def _on_invite(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        response = self._respond(request, 200, "OK").add("Contact", self.contact).add("Content-Type", "application/sdp")
        response.body = self._sdp(self.uri)
        self._sessions[peer] = Dialog(request.get("Call-ID"), response.get("To"), request.get("From"),
                                      address(request.get("Contact")), event="", routes=route_set(request),
                                      confirmed=True)
        self.inbox.ring()
        return response

    def _on_info(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        if b'"type"' in request.body:
            self.inbox.put("typing", peer)
        elif b'"idle"' in request.body:
            self.inbox.put("typing-stopped", peer)
        return self._respond(request, 200, "OK")

    def _on_bye(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        if peer in self._sessions and self._sessions[peer].call_id == request.get("Call-ID"):
            del self._sessions[peer]
        self.inbox.put("bye", peer)
        return self._respond(request, 200, "OK")

    def _document(self, presence: Presence) -> bytes:
        return pidf.write(self.uri, presence, legacy=True)
