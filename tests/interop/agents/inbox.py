"""What a user has seen: a list of events that steps take from, and a way to wait for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class Missed(Exception):
    """What a step waited for did not happen before its deadline."""


@dataclass
class Event:
    """One thing that a user saw: `kind` of it, from whom (`peer`), and its particulars."""

    kind: str
    peer: str
    fields: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        particulars = " ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.kind} from {self.peer} {particulars}".strip()


class Inbox:
    """Events in order of arrival, plus the last known state of each contact."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits: something has changed."""
        self._bell.set()

    def put(self, kind: str, peer: str, **fields: str) -> None:
        self.events.append(Event(kind, peer, fields))
        self.ring()

    async def until(self, check: Callable[[], T | None], seconds: float, wanted: str) -> T:
        """Wait until `check` returns something. Raises Missed at the deadline."""
        limit = asyncio.get_running_loop().time() + seconds
        while True:
            found = check()
            if found is not None:
                return found
            self._bell.clear()
            left = limit - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._bell.wait(), max(left, 0))
            except TimeoutError:
                waiting = "; ".join(map(str, self.events[-8:])) or "nothing"
                raise Missed(f"waited {seconds:g} s for {wanted}; unread: {waiting}") from None

    async def take(self, kind: str, peer: str, seconds: float, **fields: str) -> Event:
        """Wait for an event of this kind and take it out. A field may list alternatives with `|`."""
        wanted = str(Event(kind, peer, fields))

        def check() -> Event | None:
            for position, event in enumerate(self.events):
                if event.kind == kind and event.peer == peer and matches(event, fields):
                    return self.events.pop(position)
            return None

        return await self.until(check, seconds, wanted)


def matches(event: Event, fields: dict[str, str]) -> bool:
    return all(event.fields.get(name) in value.split("|") or event.fields.get(name) == value
               for name, value in fields.items())
