"""The language of the client programs: a line is a word and its particulars, separated by tabs.

Commands come on standard input (`send PEER TEXT`, `type PEER`, `pause PEER`, `read PEER`), events go to standard output
(`signed-on`, `message PEER TEXT`, `typing PEER`, `final PEER STATUS TEXT`, …). Backslash, tab and line ends in a
particular are written as two characters. See agents/program.py for the other end.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Iterator

# Events alone go to what was standard output: libraries write there as they like.
EVENTS = os.dup(sys.stdout.fileno())
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

READABLE = {"t": "\t", "n": "\n", "r": "\r"}
WRITTEN = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def tell(*words: str) -> None:
    """Write one event."""
    line = "\t".join("".join(WRITTEN.get(letter, letter) for letter in word) for word in words) + "\n"
    os.write(EVENTS, line.encode(errors="replace"))


class Commands:
    """Standard input, read without waiting longer than asked."""

    def __init__(self) -> None:
        self.open = True
        self._rest = b""

    def within(self, seconds: float) -> Iterator[list[str]]:
        """The commands that came; waits for the first at most so long. `open` turns false at the end of the input."""
        if not select.select([sys.stdin.fileno()], [], [], seconds)[0]:
            return
        data = os.read(sys.stdin.fileno(), 65536)
        self.open = bool(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield [_unescape(word) for word in line.decode().split("\t")]


def _unescape(word: str) -> str:
    return re.sub(r"\\(.)", lambda found: READABLE.get(found[1], found[1]), word)


def bare(uri: str) -> str:
    """user@domain of what a SIP library calls an address."""
    found = re.search(r"sips?:([^;?>]+)", uri)
    return re.sub(r":\d+$", "", found[1]) if found else uri
