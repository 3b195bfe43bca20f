"""Group chat by RFC 7701: a participant of somebody else's room, and a focus with a room of its own."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from agents.sip_text import SipMessage, address, bare, parameter
from agents.sip_user import Dialog, route_set
from agents.sip_wire import Hop, Wire
from msrp import bodies, conference
from msrp.agent import Meeting, MsrpUser
from msrp.conference import Roster, nick_of
from msrp.link import Door
from msrp.settings import Settings
from msrp.talk import Manner, Talk
from msrp.wire import Fault

EXPIRES = 600
CONFLICT = 425


class RoomUser(MsrpUser):
    """An MSRP user that can join rooms. `rosters` is what it knows of each."""

    def __init__(self, user: str, wire: Wire, hop: Hop, serves: bool, settings: Settings, door: Door) -> None:
        super().__init__(user, wire, hop, serves, settings, door)
        self.rosters: dict[str, Roster] = {}
        self._watches: dict[str, Dialog] = {}

    def join(self, room: str, nickname: str = "") -> None:
        """Enter, and ask for the nickname."""
        self._spawn(self._join(room, nickname))

    async def _join(self, room: str, nickname: str) -> None:
        talk = await self.talk_with(room)
        if talk is None:
            return
        if nickname:
            talk.nick(nickname)

    def watch(self, room: str) -> None:
        """Ask to be told who is there."""
        self._spawn(self._watch(room))

    def prepare(self, talk: Talk) -> None:
        if self.settings.chatroom:
            talk.mine.chatroom = ("nickname", "private-messages")
            talk.on_text = self._room_text

    def _room_text(self, talk: Talk, wrapped: bodies.Wrapped) -> int:
        """Whoever in the room wrote it: the display name of From, or the gr of its URI."""
        room = bare(talk.peer)
        sender, recipient = wrapped.uri("From"), wrapped.uri("To")
        if wrapped.kind.partition(";")[0].strip().lower() != "text/plain":
            self._fault(f"7701 §6: a text of type {wrapped.kind!r}")
        private = recipient and bare(recipient) != room
        shown = wrapped.get("From").partition("<")[0].strip().strip('"')
        nick = self.rosters.get(room, Roster()).names.get(sender) or shown or nick_of(sender)
        self.inbox.put("private" if private else "room-text", room, nick=nick, text=wrapped.body.decode())
        return 200

    def nick(self, room: str, name: str) -> None:
        self.meetings[room].talk.nick(name)

    def say_privately(self, room: str, nick: str, text: str) -> None:
        """To one participant, by the room (RFC 7701 §6.2)."""
        entity = next(entity for entity, name in self.rosters[room].names.items() if name == nick)
        self.meetings[room].talk.say(text, Manner(), to=entity)

    async def _watch(self, room: str) -> None:
        dialog = Dialog(secrets.token_hex(10), f"<{self.uri}>;tag={secrets.token_hex(4)}", f"<sip:{room}>",
                        f"sip:{room}", event="conference")
        self._watches[room] = dialog
        self.rosters[room] = Roster()
        request = dialog.request("SUBSCRIBE", self.contact).add("Accept", conference.TYPE).add("Expires", str(EXPIRES))
        response = await self.wire.request(request, self.hop)
        if response.status >= 300:
            self._fault(f"4575 §3: SUBSCRIBE to {room} answered {response.status}")
        else:
            self._confirm(dialog, response.get("To"), response)

    def _on_notify(self, request: SipMessage) -> SipMessage:
        if request.get("Event").partition(";")[0] != "conference":
            return super()._on_notify(request)
        room = bare(address(request.get("From")))
        dialog = self._watches.get(room)
        if dialog is None or dialog.call_id != request.get("Call-ID"):
            return self._respond(request, 481, "Subscription does not exist")
        if not request.get("Subscription-State"):
            self._fault("6665 §4.2.2: a NOTIFY without Subscription-State")
        self._confirm(dialog, request.get("From"), request)
        if request.body:
            try:
                self.rosters[room].take(request.body, room)
            except Fault as fault:
                self._fault(str(fault))
        elif request.get("Subscription-State").startswith("active"):
            self._fault("4575 §3.5: an active subscription without a document")
        self.inbox.ring()
        return self._respond(request, 200, "OK")


@dataclass
class Seat:
    """Somebody in the focus's room: a session, or a scripted participant without one."""

    name: str
    talk: Talk | None = None


class Focus(MsrpUser):
    """A room at this user's address. Everybody's texts go to everybody else; names are taken once."""

    def __init__(self, user: str, wire: Wire, hop: Hop, serves: bool, settings: Settings, door: Door) -> None:
        super().__init__(user, wire, hop, serves, settings, door)
        self.seats: dict[str, Seat] = {}
        self.subject = ""
        self._watching: dict[str, Dialog] = {}
        self._version = 0
        self._told: dict[str, asyncio.Lock] = {}

    @property
    def contact(self) -> str:
        return f"{super().contact};isfocus"

    def prepare(self, talk: Talk) -> None:
        talk.mine.chatroom = ("nickname", "private-messages")
        talk.nickname = self._named
        talk.on_text = self._spoken

    def _began(self, peer: str, meeting: Meeting) -> None:
        super()._began(peer, meeting)
        offered = meeting.talk.theirs.chatroom if meeting.talk.theirs is not None else None
        if offered is None:
            self._fault("7701 §8: an offer to a room without a=chatroom")
        self.seats[meeting.talk.peer] = Seat(bare(meeting.talk.peer).partition("@")[0], meeting.talk)
        self._publish()

    def _on_bye(self, request: SipMessage) -> SipMessage:
        peer = bare(address(request.get("From")))
        self.seats.pop(f"sip:{peer}", None)
        self._publish()
        return super()._on_bye(request)

    # What the script does.

    def admit(self, name: str) -> None:
        """A participant of the script's comes in."""
        self.seats[f"sip:{name.lower()}@elsewhere.test"] = Seat(name)
        self._publish()

    def lose(self, name: str) -> None:
        self.seats = {entity: seat for entity, seat in self.seats.items() if seat.name != name}
        self._publish()

    def name_subject(self, subject: str) -> None:
        self.subject = subject
        self._publish()

    def speak(self, name: str, text: str, to: str = "") -> None:
        """A participant of the script's says something to all, or privately to one."""
        sender = self._entity(name)
        for entity, seat in self.seats.items():
            if seat.talk is not None and (not to or seat.name == to):
                self._pass(seat.talk, sender, entity if to else self.uri, text)

    def _entity(self, name: str) -> str:
        return next(entity for entity, seat in self.seats.items() if seat.name == name)

    @staticmethod
    def _pass(talk: Talk, sender: str, recipient: str, text: str) -> None:
        wrapped = bodies.wrap(sender, recipient, text.encode(), "text/plain;charset=UTF-8")
        talk.send(wrapped.encode(), bodies.CPIM, Manner(failure="no"), "")

    # What participants do.

    def _named(self, talk: Talk, name: str) -> int:
        peer = bare(talk.peer)
        if any(seat.name.casefold() == name.casefold() and entity != talk.peer for entity, seat in self.seats.items()):
            self.inbox.put("nickname-refused", peer, nick=name)
            return CONFLICT
        self.seats[talk.peer].name = name
        self.inbox.put("nickname", peer, nick=name)
        self._publish()
        return 200

    def _spoken(self, talk: Talk, wrapped: bodies.Wrapped) -> int:
        peer, recipient = bare(talk.peer), wrapped.uri("To")
        text = wrapped.body.decode()
        if bare(wrapped.uri("From") or "sip:nobody") != peer:
            self._fault(f"7701 §6.1: From of the wrapper is {wrapped.get('From')}, the participant is {peer}")
        if bare(recipient or "sip:nobody") == self.user:
            self.inbox.put("room-text", peer, text=text)
            for entity, seat in self.seats.items():
                if seat.talk is not None and entity != talk.peer:
                    self._pass(seat.talk, talk.peer, self.uri, text)
        elif recipient in self.seats:
            self.inbox.put("private", peer, text=text, nick=self.seats[recipient].name)
        else:
            self._fault(f"7701 §6.1: a text to {recipient!r}, who is not here")
            return 404
        return 200

    def _on_subscribe(self, request: SipMessage) -> SipMessage:
        if request.get("Event").partition(";")[0] != "conference":
            return super()._on_subscribe(request)
        peer = bare(address(request.get("From")))
        expires = request.get("Expires", "3600")
        response = self._respond(request, 200, "OK").add("Expires", expires).add("Contact", self.contact)
        if parameter(request.get("To"), "tag") and peer in self._watching:
            dialog = self._watching[peer]
        else:
            dialog = Dialog(request.get("Call-ID"), response.get("To"), request.get("From"),
                            address(request.get("Contact")), event="conference", routes=route_set(request),
                            confirmed=True)
        if expires == "0":
            self._watching.pop(peer, None)
            self._tell(dialog, "terminated;reason=timeout")
        else:
            self._watching[peer] = dialog
            self._tell(dialog, f"active;expires={expires}")
        return response

    def _publish(self) -> None:
        for dialog in self._watching.values():
            self._tell(dialog, f"active;expires={EXPIRES}")

    def _tell(self, dialog: Dialog, state: str) -> None:
        self._version += 1
        request = dialog.request("NOTIFY", self.contact).add("Subscription-State", state)
        request.add("Content-Type", conference.TYPE)
        names = {entity: seat.name for entity, seat in self.seats.items()}
        request.body = conference.write(self.user, self._version, names, self.subject)
        self._spawn(self._notified(request, self._told.setdefault(dialog.call_id, asyncio.Lock())))

    async def _notified(self, request: SipMessage, turn: asyncio.Lock) -> None:
        """One NOTIFY at a time, so that none overtakes another."""
        async with turn:
            response = await self.wire.request(request, self.hop)
        if response.status >= 300 and response.status != 481:
            self._fault(f"6665 §4.1.3: NOTIFY answered {response.status}")
