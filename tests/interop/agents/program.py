"""A user that is a program of its own: commands as lines on its input, events as lines on its output.

The words of a line are separated by tabs; see clients/lines.py for the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from agents.inbox import Inbox
from agents.ladder import Ladder

LINE_LIMIT = 1 << 20
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class Program:
    """One process and what its user sees. `event` says what a line of its output means."""

    def __init__(self, user: str, label: str, ladder: Ladder) -> None:
        self.user = user
        self.label = label
        self.ladder = ladder
        self.inbox = Inbox()
        self.complaints: list[str] = []
        self.signed_on = asyncio.Event()
        self._typing: set[str] = set()
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._leaving = False

    def event(self, word: str, fields: list[str]) -> None:
        raise NotImplementedError

    async def run(self, command: list[str], folder: Path, **env: str) -> None:
        """Start the program; its log and its home are in `folder`, its environment is `env`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._leaving = False
        with (folder / f"{self.label}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=log, limit=LINE_LIMIT, start_new_session=True,
                env={"LANG": "C.UTF-8", "HOME": str(folder), "PATH": os.environ["PATH"], **env})
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

    async def until_signed_on(self, seconds: float) -> None:
        """Raises RuntimeError when the server does not let us in."""
        try:
            await asyncio.wait_for(self.signed_on.wait(), seconds)
        except TimeoutError:
            raise RuntimeError(f"{self.user} could not sign on within {seconds:g} s") from None

    def tell(self, *words: str) -> None:
        self.ladder.note(self.label, "does", " ".join(words))
        if self._process is None or self._process.stdin is None:
            raise RuntimeError(f"{self.user} is not running")
        line = "\t".join("".join(ESCAPES.get(letter, letter) for letter in word) for word in words)
        self._process.stdin.write(line.encode() + b"\n")

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            words = [_unescape(word) for word in line.decode(errors="replace").rstrip("\n").split("\t")]
            self.ladder.note(self.label, "sees", " ".join(words))
            self.event(words[0], words[1:])
        if not self._leaving:
            self.complaints.append(f"{self.user}: the client has ended by itself")
            self.inbox.ring()

    def typed(self, peer: str, typing: bool) -> None:
        """Tell of changes only: notices are repeated while somebody types."""
        if typing != (peer in self._typing):
            self.inbox.put("typing" if typing else "typing-stopped", peer)
        (self._typing.add if typing else self._typing.discard)(peer)

    def said(self, peer: str, **fields: str) -> None:
        """A text has come, which ends typing without a word."""
        self._typing.discard(peer)
        self.inbox.put("message", peer, **fields)


def _unescape(word: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"t": "\t", "n": "\n", "r": "\r"}.get(found[1], found[1]), word)
