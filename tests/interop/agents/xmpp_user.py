"""A scripted XMPP user on slixmpp, logged in to its own server in clear (the lab tests what crosses the border)."""

from __future__ import annotations

import asyncio
from xml.etree.ElementTree import Element, SubElement

from slixmpp import ClientXMPP, Iq, Message, Presence
from slixmpp.xmlstream import tostring
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from agents.accounts import PASSWORD
from agents.inbox import Inbox
from agents.ladder import Ladder

LOGIN_LIMIT = 10.0
SUBSCRIPTION = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")
PRESENCE_EVENTS = (*SUBSCRIPTION, "available", "unavailable", "away", "chat", "dnd", "xa", "error")


RECEIPTS = "urn:xmpp:receipts"
MARKERS = "urn:xmpp:chat-markers:0"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
MUC = "http://jabber.org/protocol/muc"
TIDINGS = ((RECEIPTS, "received", "receipt"), (MARKERS, "received", "receipt"), (MARKERS, "displayed", "displayed"))


def element(namespace: str, name: str, /, **attributes: str) -> Element:
    """One element, for what slixmpp has no plugin for in use here."""
    return Element(f"{{{namespace}}}{name}", attributes)


def _condition(error: Element) -> str:
    """RFC 6120's word; slixmpp does not know all of them."""
    names = [child.tag.removeprefix(f"{{{STANZA_ERRORS}}}") for child in error if STANZA_ERRORS in child.tag]
    return next((name for name in names if name != "text"), "")


class XmppUser:
    """One client. What it sees goes into `inbox`; presence of contacts into `resources`."""

    def __init__(self, user: str, label: str, server: tuple[str, int], ladder: Ladder) -> None:
        self.client = ClientXMPP(f"{user}/{label}", PASSWORD)
        self.user = user
        self.label = label
        self.server = server
        self.ladder = ladder
        self.inbox = Inbox()
        self.resources: dict[str, dict[str, tuple[str, str]]] = {}
        self.subscriptions: dict[str, str] = {}
        self.complaints: list[str] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receipts = True
        self.last_sent = ""
        self._sent: dict[str, str] = {}
        self._markable: dict[str, str] = {}
        self._nicks: dict[str, str] = {}
        self._typing: set[str] = set()
        self._next = 0
        self._prepare()

    def _prepare(self) -> None:
        client = self.client
        client.roster.auto_authorize = None
        client.roster.auto_subscribe = False
        client.register_plugin("xep_0199")
        client.register_plugin("xep_0085")
        client["feature_mechanisms"].unencrypted_plain = True
        client.add_event_handler("session_start", self._started)
        client.add_event_handler("failed_auth", lambda _: self._failed("log-in refused"))
        client.add_event_handler("connection_failed", lambda reason: self._failed(f"connection: {reason}"))
        # slixmpp's own event is for messages with a body alone.
        client.register_handler(Callback("every message", MatchXPath("{jabber:client}message"), self._message))
        client.add_event_handler("chatstate", self._chat_state)
        client.add_event_handler("message_error", self._message_error)
        client.add_event_handler("roster_update", self._roster)
        for kind in PRESENCE_EVENTS:
            client.add_event_handler(f"presence_{kind}", self._presence)
        client.add_filter("in", lambda stanza: self._note("<", stanza))
        client.add_filter("out", lambda stanza: self._note(">", stanza))

    def _note(self, arrow: str, stanza: object) -> object:
        if isinstance(stanza, (Message, Presence)):
            self.ladder.note(self.label, arrow, tostring(stanza.xml, xmlns="jabber:client"))
        return stanza

    async def login(self) -> None:
        """Log in, fetch the roster and become available. Raises RuntimeError."""
        self.client.use_aiodns = False
        self.client.connect(self.server, disable_starttls=True, force_starttls=False)
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), LOGIN_LIMIT)
        except TimeoutError:
            raise RuntimeError(f"{self.user} could not log in within {LOGIN_LIMIT:g} s") from None
        self.show("online")

    def _failed(self, why: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(RuntimeError(f"{self.user}: {why}"))

    async def _started(self, _: object) -> None:
        await self.client.get_roster()
        if not self._ready.done():
            self._ready.set_result(None)

    # What the user does.

    def say(self, peer: str, text: str, *extras: Element) -> str:
        """Send one text, as from a client that knows chat states, with more elements; return the stanza's id."""
        self._next += 1
        message = self.client.make_message(peer, mbody=text or None, mtype="chat")
        message["id"] = f"{self.label}-{self._next}"
        message["chat_state"] = "active"
        for extra in extras:
            message.append(extra)
        message.send()
        self._sent[str(message["id"])] = text
        return str(message["id"])

    def read(self, peer: str) -> None:
        """Say that the last markable message has been displayed (XEP-0333)."""
        self._tell(peer, element(MARKERS, "displayed", id=self._markable.pop(peer)))

    def _tell(self, to: str, extra: Element) -> None:
        message = self.client.make_message(to, mtype="chat")
        message.append(extra)
        message.send()

    def chat_state(self, peer: str, word: str) -> None:
        """Send a notice without text: `composing` or `paused` (XEP-0085)."""
        message = self.client.make_message(peer, mtype="chat")
        message["chat_state"] = word
        message.send()

    def show(self, word: str, note: str = "") -> None:
        """Broadcast a state: `online`, or one of XMPP's show values."""
        self.client.send_presence(pshow=None if word == "online" else word, pstatus=note or None)

    def ask(self, kind: str, peer: str) -> None:
        """Send a subscription stanza."""
        self.client.send_presence_subscription(peer, ptype=kind)

    def join(self, room: str, nick: str) -> None:
        """Enter a room (XEP-0045), without its history."""
        self._nicks[room] = nick
        entry = element(MUC, "x")
        SubElement(entry, f"{{{MUC}}}history", maxstanzas="0")
        presence = self.client.make_presence(pto=f"{room}/{nick}")
        presence.append(entry)
        presence.send()

    def leave_room(self, room: str) -> None:
        self.client.send_presence(pto=f"{room}/{self._nicks.get(room, '')}", ptype="unavailable")

    def say_in_room(self, room: str, text: str) -> None:
        self.client.make_message(room, mbody=text, mtype="groupchat").send()

    def name_subject(self, room: str, subject: str) -> None:
        self.client.make_message(room, msubject=subject, mtype="groupchat").send()

    async def logout(self) -> None:
        """Say good-bye and close the stream."""
        self.client.send_presence(ptype="unavailable")
        await self.client.disconnect(wait=0.5)
        self._ready = asyncio.get_running_loop().create_future()

    async def round_trip(self) -> None:
        """Ping our own server: what it had for us has come when it answers."""
        if self._ready.done():
            await self.client["xep_0199"].ping(self.client.boundjid.domain, timeout=5)

    def leave(self) -> None:
        """Drop the connection: the case is over."""
        self.client.abort()

    # What the user sees.

    def state_of(self, peer: str) -> tuple[str, str]:
        """(word, status text) of the contact's best resource; `offline` when there is none."""
        resources = self.resources.get(peer, {})
        return next(reversed(resources.values())) if resources else ("offline", "")

    def _chat_state(self, message: Message) -> None:
        """Whoever starts and stops typing; a text ends it without a word."""
        peer, state = message["from"].bare, message["chat_state"]
        if state == "composing":
            if peer not in self._typing:
                self.inbox.put("typing", peer)
            self._typing.add(peer)
        elif peer in self._typing:
            self._typing.discard(peer)
            if not message["body"]:
                self.inbox.put("typing-stopped", peer)

    def _message(self, message: Message) -> None:
        peer = message["from"].bare
        if message["type"] == "groupchat":
            self._room_message(message, peer)
        if message["type"] not in ("chat", "normal"):
            return
        if peer in self._nicks and message["from"].resource:
            if message["body"]:
                self.inbox.put("private", peer, nick=message["from"].resource, text=message["body"])
            return
        for namespace, name, kind in TIDINGS:
            tidings = message.xml.find(f"{{{namespace}}}{name}")
            if tidings is not None:
                self._tidings(peer, kind, tidings.get("id", ""))
        if message["body"]:
            wishes = self._wishes(message)
            self.inbox.put("message", peer, text=message["body"], id=message["id"], full=str(message["from"]),
                           **({"wishes": ",".join(wishes)} if wishes else {}))

    def _room_message(self, message: Message, room: str) -> None:
        if message["body"]:
            self.inbox.put("room-text", room, nick=message["from"].resource, text=message["body"])
        elif message["subject"]:
            self.inbox.put("subject", room, text=message["subject"])

    def _tidings(self, peer: str, kind: str, about: str) -> None:
        """A receipt or marker: it must be about a message of ours."""
        if about in self._sent:
            self.inbox.put(kind, peer, text=self._sent[about])
        else:
            self.complaints.append(f"{self.user}: {kind} from {peer} about {about!r}, which was never sent")

    def _wishes(self, message: Message) -> list[str]:
        """What the sender asks for; a receipt is given at once, as clients do."""
        peer, wishes = message["from"].bare, []
        if message.xml.find(f"{{{RECEIPTS}}}request") is not None:
            wishes.append("receipt")
            if self.receipts:
                self._tell(str(message["from"]), element(RECEIPTS, "received", id=message["id"]))
        if message.xml.find(f"{{{MARKERS}}}markable") is not None:
            wishes.append("markable")
            self._markable[peer] = message["id"]
        return wishes

    def _message_error(self, message: Message) -> None:
        error = message["error"]
        self.inbox.put("error", message["from"].bare, condition=_condition(error.xml), id=message["id"],
                       text=error["text"], type=error["type"])

    def _presence(self, presence: Presence) -> None:
        peer, kind = presence["from"].bare, presence.xml.get("type")
        if peer == self.client.boundjid.bare:
            return
        if kind in SUBSCRIPTION:
            self.inbox.put(kind, peer)
        elif kind == "error":
            self.inbox.put("presence-error", peer, condition=presence["error"]["condition"])
        else:
            self._resource(presence, peer)

    def _resource(self, presence: Presence, peer: str) -> None:
        known = self.resources.setdefault(peer, {})
        resource = presence["from"].resource
        if presence["type"] == "unavailable":
            if resource:
                known.pop(resource, None)
            else:
                known.clear()
        else:
            known.pop(resource, None)
            known[resource] = (presence["show"] or "online", presence["status"])
        self.inbox.ring()

    def _roster(self, iq: Iq) -> None:
        for item in iq["roster"].xml:
            self._roster_item(item)
        self.inbox.ring()

    def _roster_item(self, item: Element) -> None:
        jid = item.get("jid", "")
        if item.get("subscription") == "remove":
            self.subscriptions.pop(jid, None)
            return
        asked = "+ask" if item.get("ask") else ""
        self.subscriptions[jid] = item.get("subscription", "none") + asked
