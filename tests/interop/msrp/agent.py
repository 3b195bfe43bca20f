"""A scripted SIP user that talks in MSRP sessions: offers and answers, both sides of a connection, TCP and TLS."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from agents.sip_text import SipMessage, address, bare
from agents.sip_user import Dialog, route_set
from agents.sip_wire import Hop, Wire
from msrp import sdp
from msrp.awkward import VARIANTS, Attack
from msrp.link import Door, Link
from msrp.page import PageUser
from msrp.sdp import Description
from msrp.settings import Settings
from msrp.talk import Manner, Talk
from msrp.wire import Fault, Frame, parse_uri

SDP_TYPE = "application/sdp"
DECLINE_STREAM = 1  # in Settings.refuse: a 200 without a stream
REASONS = {486: "Busy Here", 488: "Not Acceptable Here", 603: "Decline", 480: "Temporarily Unavailable",
           415: "Unsupported Media Type", 404: "Not Found"}


@dataclass
class Meeting:
    """A dialog and the talk in it."""

    dialog: Dialog
    talk: Talk
    invite: int = 0  # CSeq of the INVITE that came
    acked: bool = True


class MsrpUser(PageUser):
    """Its texts go through a session with the peer, which is opened where there is none."""

    allow = "INVITE, ACK, BYE, CANCEL, MESSAGE, NOTIFY, SUBSCRIBE, OPTIONS, REFER"

    def __init__(self, user: str, wire: Wire, hop: Hop, serves: bool, settings: Settings, door: Door) -> None:
        super().__init__(user, wire, hop, serves, settings)
        self.door = door
        self.meetings: dict[str, Meeting] = {}
        self._talks: dict[str, Talk] = {}  # by the session id of our path
        self._over: set[str] = set()
        self._early: list[tuple[Link, Frame]] = []

    async def listen(self) -> None:
        await self.door.open(self._link)

    def close(self) -> None:
        self.door.close()
        for talk in self._talks.values():
            if talk.link is not None:
                talk.link.close()
        super().close()

    # Connections.

    def _link(self) -> Link:
        return Link(self._take, self._fault, self._lost)

    def _fault(self, text: str) -> None:
        self.wire.ladder.note(self.wire.label, "fault", text)
        self.wire.complaints.append(f"{self.user}: {text}")

    def _take(self, link: Link, frame: Frame) -> None:
        self.wire.ladder.note(self.wire.label, "<msrp", str(frame))
        session = frame.to_path[0].session
        talk = self._talks.get(session)
        if talk is None:
            if session not in self._over:
                self._fault(f"§7.3: {frame.method or frame.code} for a session that is not: {frame.get('To-Path')}")
            return
        if talk.theirs is None:  # the other side is faster than its answer
            self._early.append((link, frame))
            return
        if talk.link is None or talk.link.closed:
            if talk.active and talk.link is None and not frame.code:
                self._fault("4145 §4: we are the active side, and a connection came")
            self._check_certificate(talk, link)
            talk.bind(link)
        elif link is not talk.link and not frame.code:
            self._fault("§5.4: a second connection for the session")
        talk.take(link, frame)

    def _lost(self, link: Link) -> None:
        for meeting in self.meetings.values():
            if meeting.talk.link is link:
                self.inbox.put("cut", bare(meeting.talk.peer))

    def _check_certificate(self, talk: Talk, link: Link) -> None:
        shown, described = link.fingerprint, talk.theirs.fingerprint if talk.theirs else ""
        if not talk.mine.secure:
            return
        if talk.active and not shown:
            self._fault("§14.4: no certificate on the TLS connection")
        if shown and described.upper() != f"SHA-256 {shown}":
            self._fault(f"§14.4: the certificate is {shown}, but the description says {described}")

    async def _connect(self, talk: Talk) -> None:
        """The active side's part: connect, then speak."""
        target = talk.target if talk.theirs is None else talk.theirs.path[0]
        try:
            link = await self.door.dial(target.host.strip("[]"), target.port, talk.mine.secure, self._link)
        except (OSError, TimeoutError) as error:
            self._fault(f"§5.4: {target} takes no connection: {error}")
            return
        self._check_certificate(talk, link)
        greeted = talk.link is None
        talk.bind(link)
        if greeted:
            talk.greet()

    # Sessions that we open.

    async def _message(self, peer: str, text: str) -> None:
        await self.say(peer, text, Manner())

    def message_in(self, peer: str, text: str, manner: Manner) -> None:
        self._spawn(self.say(peer, text, manner))

    async def say(self, peer: str, text: str, manner: Manner) -> None:
        talk = await self.talk_with(peer)
        if talk is not None:
            talk.say(text, manner)

    async def talk_with(self, peer: str) -> Talk | None:
        """The session with the peer, opened if need be; None when it was refused (an event `declined`)."""
        if peer not in self.meetings:
            await self._invite(peer)
        meeting = self.meetings.get(peer)
        return meeting.talk if meeting is not None else None

    def invite(self, peer: str) -> None:
        self._spawn(self._invite(peer))

    def _new_talk(self, peer: str, secure: bool) -> Talk:
        session = secrets.token_hex(8)
        scheme, port = ("msrps", self.door.port + 1) if secure else ("msrp", self.door.port)
        host = f"[{self.door.host}]" if ":" in self.door.host else self.door.host
        ours = parse_uri(f"{scheme}://{host}:{port}/{session};tcp")
        talk = Talk(ours, self.settings, (self.uri, f"sip:{peer}"),
                    lambda kind, **fields: self.inbox.put(kind, peer, **fields), self._fault,
                    lambda arrow, text: self.wire.ladder.note(self.wire.label, arrow, text))
        talk.mine = Description(
            path=[ours], accept=tuple(self.settings.accept.lower().split()), secure=secure, port=port,
            wrapped=tuple(self.settings.wrapped.lower().split()), max_size=self.settings.max_size,
            fingerprint=self.door.fingerprint if secure else "", setup=self.settings.setup)
        self._talks[session] = talk
        self.prepare(talk)
        return talk

    def prepare(self, talk: Talk) -> None:
        """For a conference: what is different in its sessions."""

    async def _invite(self, peer: str) -> None:
        talk = self._new_talk(peer, self.settings.secure)
        dialog = Dialog(secrets.token_hex(10), f"<{self.uri}>;tag={secrets.token_hex(4)}", f"<sip:{peer}>",
                        f"sip:{peer}", event="")
        request = dialog.request("INVITE", self.contact).add("Content-Type", SDP_TYPE)
        request.body = sdp.write(talk.mine, self.wire.host, talk.ours.session[:8].encode().hex())
        response = await self.wire.request(request, self.hop)
        if response.status >= 300:
            self.inbox.put("declined", peer, status=str(response.status))
            return
        self._confirm(dialog, response.get("To"), response)
        dialog.cseq -= 1
        await self.wire.send(dialog.request("ACK", self.contact), self.hop)
        self._began(peer, Meeting(dialog, talk))
        try:
            talk.theirs = sdp.read(response.body)
        except Fault as fault:
            self._fault(str(fault))
            return
        if not talk.theirs.port:
            self.inbox.put("declined", peer, status="0")
            return
        for text in sdp.answer_faults(talk.mine, talk.theirs):
            self._fault(text)
        talk.active = talk.theirs.setup != "active" and talk.mine.setup != "passive"
        self.inbox.put("session", peer, side="active" if talk.active else "passive")
        early, self._early = self._early, []
        for link, frame in early:
            self._take(link, frame)
        if talk.active:
            await self._connect(talk)

    def _began(self, peer: str, meeting: Meeting) -> None:
        self.meetings[peer] = meeting

    async def leave(self, peer: str) -> None:
        """End the session; the peer knows it then."""
        meeting = self.meetings.pop(peer)
        response = await self.wire.request(meeting.dialog.request("BYE", self.contact), self.hop)
        if response.status != 200:
            self._fault(f"3261 §15: BYE answered {response.status}")
        self._end(meeting)

    def renew(self, peer: str) -> None:
        """A re-INVITE that changes nothing (RFC 3261 §14)."""
        self._spawn(self._renew(peer))

    async def _renew(self, peer: str) -> None:
        meeting = self.meetings[peer]
        request = meeting.dialog.request("INVITE", self.contact).add("Content-Type", SDP_TYPE)
        request.body = sdp.write(meeting.talk.mine, self.wire.host, meeting.talk.ours.session[:8].encode().hex())
        response = await self.wire.request(request, self.hop)
        if response.status < 300:
            meeting.dialog.cseq -= 1
            await self.wire.send(meeting.dialog.request("ACK", self.contact), self.hop)
        self.inbox.put("renewed", peer, status=str(response.status))

    def _end(self, meeting: Meeting) -> None:
        talk = meeting.talk
        self._talks.pop(talk.ours.session, None)
        self._over.add(talk.ours.session)
        if talk.link is not None:
            talk.link.close()

    # Sessions that others open.

    def answer(self, request: SipMessage) -> SipMessage | None:
        actions: dict[str, Callable[[SipMessage], SipMessage | None]] = {
            "INVITE": self._on_invite, "BYE": self._on_bye, "ACK": self._on_ack,
            "CANCEL": lambda request: self._respond(request, 200, "OK")}
        action = actions.get(request.method)
        return action(request) if action is not None else super().answer(request)

    def _on_invite(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        meeting = self.meetings.get(peer)
        if meeting is not None and meeting.dialog.call_id == request.get("Call-ID"):
            return self._described(self._respond(request, 200, "OK"), meeting.talk)
        if self.settings.refuse > DECLINE_STREAM:
            self.inbox.put("invited", peer)
            return self._respond(request, self.settings.refuse, REASONS.get(self.settings.refuse, "No"))
        try:
            offer = sdp.read(request.body)
        except Fault as fault:
            self._fault(str(fault))
            return self._respond(request, 488, "Not Acceptable Here")
        talk = self._new_talk(peer, offer.secure)
        talk.theirs = offer
        response = self._respond(request, 200, "OK")
        if self.settings.refuse == DECLINE_STREAM:
            response.add("Contact", self.contact).add("Content-Type", SDP_TYPE)
            response.body = sdp.refused(request.body)
            self.inbox.put("invited", peer)
        else:
            self._choose_side(talk, offer)
            self._described(response, talk)
            self.inbox.put("session", peer, side="active" if talk.active else "passive")
        dialog = Dialog(request.get("Call-ID"), response.get("To"), request.get("From"),
                        address(request.get("Contact")), event="", routes=route_set(request), confirmed=True)
        self._began(peer, Meeting(dialog, talk, request.cseq[0], acked=False))
        if talk.active and self.settings.eager:
            self._spawn(self._connect(talk))
        return response

    def _choose_side(self, talk: Talk, offer: Description) -> None:
        """Our part in the connection, by the offer and our own wish (RFC 4145 §4.1, RFC 4975 §5.4)."""
        wish = self.settings.setup
        if offer.setup == "actpass":
            talk.active = wish != "passive"
        else:
            talk.active = offer.setup == "passive"
        talk.mine.setup = ("active" if talk.active else "passive") if offer.setup and wish else ""

    def _described(self, response: SipMessage, talk: Talk) -> SipMessage:
        response.add("Contact", self.contact).add("Content-Type", SDP_TYPE)
        response.body = sdp.write(talk.mine, self.wire.host, talk.ours.session[:8].encode().hex())
        return response

    def _on_ack(self, request: SipMessage) -> None:
        for meeting in self.meetings.values():
            if meeting.dialog.call_id == request.get("Call-ID"):
                if not meeting.acked and meeting.talk.active and not self.settings.eager:
                    self._spawn(self._connect(meeting.talk))
                meeting.acked = True
                if meeting.invite and request.cseq[0] < meeting.invite:
                    self._fault(f"3261 §13.2.2.4: ACK with CSeq {request.cseq[0]} to an INVITE with {meeting.invite}")

    def _on_bye(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        meeting = self.meetings.get(peer)
        if meeting is None or meeting.dialog.call_id != request.get("Call-ID"):
            return self._respond(request, 481, "Call Does Not Exist")
        if not meeting.acked:
            self._fault("3261 §15: BYE before the ACK")
        del self.meetings[peer]
        self._end(meeting)
        self.inbox.put("bye", peer)
        return self._respond(request, 200, "OK")

    def unacknowledged(self) -> list[str]:
        """Sessions whose 200 was never acknowledged."""
        return [f"{self.user}: no ACK for the session with {peer}" for peer, meeting in self.meetings.items()
                if not meeting.acked]

    # What is awkward on purpose.

    def break_rules(self, peer: str, variant: str) -> None:
        """Do one thing of `awkward.VARIANTS` in the session with the peer."""
        self._spawn(self._break(peer, variant))

    async def _break(self, peer: str, variant: str) -> None:
        talk = await self.talk_with(peer)
        if talk is None:
            return

        async def second() -> Link:
            target = talk.target
            return await self.door.dial(target.host.strip("[]"), target.port, talk.mine.secure, self._link)

        await VARIANTS[variant](Attack(talk, variant, second))
