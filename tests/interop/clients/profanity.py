"""Debian's profanity on a terminal that nobody sees: profanity.py USER SERVER HOST PORT FOLDER (see lines.py).

Its user types `/msg …`; what it sends and receives is read from its own log of stanzas. It asks for receipts
(XEP-0184), and tells who types.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parent))
from lines import Commands, tell  # noqa: E402

START_LIMIT = 15.0
ACCOUNT = """[me]
enabled=true
jid={user}
resource=profanity
server={server}
port=5222
tls.policy=disable
password=secret
"""
HABITS = ("/receipts request on", "/receipts send on", "/states on", "/outtype on", "/notify chat off")
ENTRY = re.compile(r"(?m)^\d{4}-\d\d-\d\dT\S+Z: \w+: \w+: ")
CLIENT = "{jabber:client}"
RECEIPT = "{urn:xmpp:receipts}received"
STATES = "{http://jabber.org/protocol/chatstates}"


class Screen:
    """profanity on a terminal of its own, whose screen is thrown away."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "stanzas.log"
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.child = subprocess.Popen(
            ["profanity", "-l", "DEBUG", "-f", str(self.log), "-a", "me"], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, env={**os.environ, "HOME": str(folder), "TERM": "xterm", "LANG": "C.UTF-8"})
        os.close(slave)

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\r")

    def drain(self) -> None:
        while select.select([self._master], [], [], 0)[0]:
            try:
                if not os.read(self._master, 65536):
                    return
            except OSError as error:
                raise SystemExit("profanity has ended") from error


class Client:
    """Reads the log for events, types commands."""

    def __init__(self, user: str, server: str, folder: Path) -> None:
        home = folder / ".local" / "share" / "profanity"
        home.mkdir(parents=True)
        (home / "accounts").write_text(ACCOUNT.format(user=user, server=server))
        self.screen = Screen(folder)
        self._user = user
        self._at = 0
        self._sent: dict[str, str] = {}
        self._signed_on = False

    def run(self) -> None:
        """Until standard input ends or profanity does."""
        commands = Commands()
        limit = time.monotonic() + START_LIMIT
        while commands.open:
            self.screen.drain()
            self._read_log()
            if not self._signed_on and time.monotonic() > limit:
                tell("disconnected", "no session")
                limit = float("inf")
            for words in commands.within(0.02):
                self._do(*words)
        self.screen.type("/quit")
        try:
            self.screen.child.wait(1)
        except subprocess.TimeoutExpired:
            self.screen.child.kill()

    def _do(self, verb: str, peer: str = "", text: str = "") -> None:
        if verb == "send":
            self.screen.type(f"/msg {peer} {text}")

    def _read_log(self) -> None:
        """Entries that are whole: an entry ends where the next one, or the end of the file, is."""
        if not self.screen.log.exists():
            return
        with self.screen.log.open("rb") as log:
            log.seek(self._at)
            text = log.read().decode(errors="replace")
        if not text.endswith("\n"):
            return
        self._at += len(text.encode())
        for entry in ENTRY.split(text):
            direction, _, stanza = entry.partition(": ")
            if direction in ("SENT", "RECV") and stanza.startswith(("<message", "<presence")):
                self._stanza(direction, stanza.strip())

    def _stanza(self, direction: str, text: str) -> None:
        try:
            stanza = ElementTree.fromstring(f'<stream xmlns="jabber:client">{text}</stream>')[0]
        except ElementTree.ParseError as error:
            tell("notice", f"{error} in {text[:200]}")
            return
        if stanza.tag == f"{CLIENT}presence":
            self._present(direction)
        elif direction == "SENT":
            body = stanza.findtext(f"{CLIENT}body")
            if body is not None:
                self._sent[stanza.get("id", "")] = body
        else:
            self._message(stanza)

    def _present(self, direction: str) -> None:
        """Its first presence is out: the session is there."""
        if direction == "SENT" and not self._signed_on:
            self._signed_on = True
            for habit in HABITS:
                self.screen.type(habit)
            tell("signed-on")

    def _message(self, stanza: ElementTree.Element) -> None:
        peer = stanza.get("from", "").partition("/")[0]
        if stanza.get("type") == "error":
            tell("final", peer, "error", self._sent.get(stanza.get("id", ""), ""))
            return
        receipt = stanza.find(RECEIPT)
        if receipt is not None and stanza.get("from", "").partition("/")[0] != self._user:  # to itself: see README.md
            tell("receipt", peer, self._sent.get(receipt.get("id", ""), f"(id {receipt.get('id')})"))
        body = stanza.findtext(f"{CLIENT}body")
        if body is not None:
            tell("message", peer, body)
        elif stanza.find(f"{STATES}composing") is not None:
            tell("typing", peer)
        elif any(stanza.find(f"{STATES}{word}") is not None for word in ("paused", "active")):
            tell("typing-stopped", peer)


if __name__ == "__main__":
    Client(sys.argv[1], sys.argv[2], Path(sys.argv[5])).run()
