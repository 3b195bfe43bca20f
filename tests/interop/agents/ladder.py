"""What each user sent and received, in order, for the reader of a failed case."""

from __future__ import annotations

import time
from dataclasses import dataclass

TEXT_LIMIT = 1500


@dataclass(frozen=True)
class Rung:
    at: float
    who: str
    arrow: str
    text: str


class Ladder:
    """Bounded record of one case."""

    def __init__(self, limit: int = 400) -> None:
        self.begun = time.monotonic()
        self.limit = limit
        self.rungs: list[Rung] = []
        self.dropped = 0

    def note(self, who: str, arrow: str, text: str) -> None:
        if len(self.rungs) >= self.limit:
            self.rungs.pop(0)
            self.dropped += 1
        self.rungs.append(Rung(time.monotonic() - self.begun, who, arrow, text[:TEXT_LIMIT].strip()))

    def draw(self) -> str:
        lines = [f"  ({self.dropped} earlier rungs left out)"] if self.dropped else []
        for rung in self.rungs:
            first, *rest = rung.text.replace("\r", "").split("\n")
            lines.append(f"  {rung.at:7.3f} {rung.who:>10} {rung.arrow} {first}")
            lines.extend(f"{'':24}{line}" for line in rest if line)
        return "\n".join(lines)
