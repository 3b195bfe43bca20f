"""A user of pidgin-sipe: Debian's package in a process of its own, without windows (lab/pidgin/client.c)."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from agents.inbox import Inbox
from agents.ladder import Ladder

LOGIN_LIMIT = 15.0
LINE_LIMIT = 1 << 20
# What cases say, and what pidgin-sipe calls it.
STATUSES = {"online": "available", "away": "away", "busy": "busy", "dnd": "do-not-disturb", "brb": "be-right-back",
            "offline": "invisible"}
SHOWN = {"available": "online", "online": "online", "idle": "away", "away": "away", "be-right-back": "away",
         "out-to-lunch": "away", "out-of-office": "away", "busy": "busy", "busyidle": "busy", "on-the-phone": "busy",
         "in-a-conference": "busy", "in-a-meeting": "busy", "do-not-disturb": "dnd", "presenting": "dnd",
         "urgent-interruptions-only": "dnd", "offline": "offline", "unset": "offline", "invisible": "offline"}
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class SipeUser:
    """One client. What it sees goes into `inbox`; presence of contacts into `seen` as (word, note)."""

    def __init__(self, user: str, label: str, server: str, password: str, ladder: Ladder) -> None:
        self.user = user
        self.label = label
        self.server = server
        self.password = password
        self.ladder = ladder
        self.inbox = Inbox()
        self.seen: dict[str, tuple[str, str]] = {}
        self.complaints: list[str] = []
        self._typing: set[str] = set()
        self.signed_on = asyncio.Event()
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._leaving = False

    async def start(self, command: list[str], folder: Path) -> None:
        """Start the program (`command`: how, up to its arguments). Its folder and log are in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._leaving = False
        with (folder / f"{self.label}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, str(folder / self.label), self.user, self.password, stdin=PIPE, stdout=PIPE, stderr=log,
                limit=LINE_LIMIT, start_new_session=True,
                env={"DBUS_SESSION_BUS_ADDRESS": "disabled:", "PURPLE_UNSAFE_DEBUG": "1",
                     "LANG": "C.UTF-8", "HOME": str(folder)})
        self._reader = asyncio.create_task(self._read(self._process))

    async def leave(self) -> None:
        """End the program: it signs off when its input ends."""
        self._leaving = True
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 3)
        except TimeoutError:
            await self.kill()
        if self._reader is not None:
            self._reader.cancel()

    async def kill(self) -> None:
        """End the program at once (SIGKILL)."""
        self._leaving = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self.signed_on.clear()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    # What the user does.

    async def login(self) -> None:
        """Raises RuntimeError when the server does not let us in."""
        self._tell("login", self.server)
        try:
            await asyncio.wait_for(self.signed_on.wait(), LOGIN_LIMIT)
        except TimeoutError:
            raise RuntimeError(f"{self.user} could not sign on within {LOGIN_LIMIT:g} s") from None

    async def knock(self, seconds: float) -> None:
        """Try to sign on, and be refused. Raises Missed."""
        self._tell("login", self.server)
        await self.inbox.take("disconnected", self.user, seconds)

    async def logout(self, seconds: float) -> None:
        self._tell("logout")
        await self.inbox.until(lambda: not self.signed_on.is_set() or None, seconds, "signing off")

    def say(self, peer: str, text: str) -> None:
        self._tell("send", f"sip:{peer}", text)

    def say_styled(self, peer: str, markup: str) -> None:
        """Send a text with libpurple's markup."""
        self._tell("send-html", f"sip:{peer}", markup)

    def show(self, word: str, note: str = "") -> None:
        self._tell("status", STATUSES[word], note)

    def contact(self, verb: str, peer: str) -> None:
        """add, remove, approve, deny, close, type or pause."""
        self._tell(verb, f"sip:{peer}")

    def menu(self, peer: str, entry: str) -> None:
        """Choose an entry of a contact's context menu."""
        self._tell("menu", f"sip:{peer}", entry)

    def _tell(self, *words: str) -> None:
        self.ladder.note(self.label, "does", " ".join(words))
        if self._process is None or self._process.stdin is None:
            raise RuntimeError(f"{self.user} is not running")
        line = "\t".join("".join(ESCAPES.get(letter, letter) for letter in word) for word in words)
        self._process.stdin.write(line.encode() + b"\n")

    # What the user sees.

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            words = [_unescape(word) for word in line.decode(errors="replace").rstrip("\n").split("\t")]
            self.ladder.note(self.label, "sees", " ".join(words))
            self._event(words[0], words[1:])
        if not self._leaving:
            self.complaints.append(f"{self.user}: the client has ended by itself")
            self.inbox.ring()

    def _event(self, word: str, fields: list[str]) -> None:
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
            self._typing.discard(peer)
            self.inbox.put("message", peer, text=_plain(fields[1]), html=fields[1])
        elif word == "note":
            self.inbox.put("note", peer, text=_plain(fields[1]))
        elif word == "request":
            self.inbox.put(word, peer)
        elif word in ("typing", "typing-stopped"):
            self._typed(peer, word == "typing")
        elif word == "disconnected":
            self.inbox.put("disconnected", self.user, text=fields[0])
        elif word == "notice":
            self.inbox.put("notice", self.user, text=" ".join(fields))


    def _typed(self, peer: str, typing: bool) -> None:
        """Tell of changes only: notices are repeated while somebody types."""
        if typing != (peer in self._typing):
            self.inbox.put("typing" if typing else "typing-stopped", peer)
        (self._typing.add if typing else self._typing.discard)(peer)


def _unescape(word: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"t": "\t", "n": "\n", "r": "\r"}.get(found[1], found[1]), word)


def _plain(text: str) -> str:
    """What a reader sees of libpurple's markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>", "\n", text)))
