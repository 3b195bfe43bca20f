"""A user of pidgin-sipe: Debian's package in a process of its own, without windows (lab/pidgin/client.c)."""

from __future__ import annotations

import html
import re
from pathlib import Path

from agents.ladder import Ladder
from agents.program import Program

LOGIN_LIMIT = 15.0
# What cases say, and what pidgin-sipe calls it.
STATUSES = {"online": "available", "away": "away", "busy": "busy", "dnd": "do-not-disturb", "brb": "be-right-back",
            "offline": "invisible"}
SHOWN = {"available": "online", "online": "online", "idle": "away", "away": "away", "be-right-back": "away",
         "out-to-lunch": "away", "out-of-office": "away", "busy": "busy", "busyidle": "busy", "on-the-phone": "busy",
         "in-a-conference": "busy", "in-a-meeting": "busy", "do-not-disturb": "dnd", "presenting": "dnd",
         "urgent-interruptions-only": "dnd", "offline": "offline", "unset": "offline", "invisible": "offline"}


class SipeUser(Program):
    """One client. What it sees goes into `inbox`; presence of contacts into `seen` as (word, note)."""

    def __init__(self, user: str, label: str, server: str, password: str, ladder: Ladder) -> None:
        super().__init__(user, label, ladder)
        self.server = server
        self.password = password
        self.seen: dict[str, tuple[str, str]] = {}

    async def start(self, command: list[str], folder: Path) -> None:
        """Start the program (`command`: how, up to its arguments). Its folder and log are in `folder`."""
        await self.run([*command, str(folder / self.label), self.user, self.password], folder,
                       DBUS_SESSION_BUS_ADDRESS="disabled:", PURPLE_UNSAFE_DEBUG="1")

    # What the user does.

    async def login(self) -> None:
        """Raises RuntimeError when the server does not let us in."""
        self.tell("login", self.server)
        await self.until_signed_on(LOGIN_LIMIT)

    async def knock(self, seconds: float) -> None:
        """Try to sign on, and be refused. Raises Missed."""
        self.tell("login", self.server)
        await self.inbox.take("disconnected", self.user, seconds)

    async def logout(self, seconds: float) -> None:
        self.tell("logout")
        await self.inbox.until(lambda: not self.signed_on.is_set() or None, seconds, "signing off")

    def say(self, peer: str, text: str) -> None:
        self.tell("send", f"sip:{peer}", text)

    def say_styled(self, peer: str, markup: str) -> None:
        """Send a text with libpurple's markup."""
        self.tell("send-html", f"sip:{peer}", markup)

    def show(self, word: str, note: str = "") -> None:
        self.tell("status", STATUSES[word], note)

    def contact(self, verb: str, peer: str) -> None:
        """add, remove, approve, deny, close, type or pause."""
        self.tell(verb, f"sip:{peer}")

    def menu(self, peer: str, entry: str) -> None:
        """Choose an entry of a contact's context menu."""
        self.tell("menu", f"sip:{peer}", entry)

    # What the user sees.

    def event(self, word: str, fields: list[str]) -> None:
        peer = fields[0].removeprefix("sip:") if fields else ""
        if word == "presence":
            self.seen[peer] = (SHOWN.get(fields[1], fields[1]), _plain(fields[2]))
            self.inbox.ring()
        elif word == "signed-on":
            self.signed_on.set()
        elif word == "signed-off":
            self.signed_on.clear()
            self.inbox.ring()
        elif word == "message":
            self.said(peer, text=_plain(fields[1]), html=fields[1])
        elif word == "note":
            self.inbox.put("note", peer, text=_plain(fields[1]))
        elif word == "request":
            self.inbox.put(word, peer)
        elif word in ("typing", "typing-stopped"):
            self.typed(peer, word == "typing")
        elif word == "disconnected":
            self.inbox.put("disconnected", self.user, text=fields[0])
        elif word == "notice":
            self.inbox.put("notice", self.user, text=" ".join(fields))


def _plain(text: str) -> str:
    """What a reader sees of libpurple's markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>", "\n", text)))
