"""Gateways that the cases can run against, by the name in SUBJECT."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lab.commands import LabError
from lab.world import World
from subjects.options import Options
from subjects.stoxgate import Stoxgate


class Subject(Protocol):
    """One gateway on the lab's host `gw` (SIP on 5060 and 5061, XMPP on 5269)."""

    name: str

    def start(self, options: Options, folder: Path) -> None:
        """Begin afresh in an empty folder. Raises LabError when it does not come up."""

    def resume(self) -> None:
        """Start again with what the last run left in its folder."""

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None:
        """Take the processor away from it (SIGSTOP)."""

    def thaw(self) -> None:
        """Let it go on."""

    def fill_disk(self) -> None:
        """Leave no room on its small disk."""

    def free_disk(self) -> None:
        """Give the room back."""

    def leave(self) -> None:
        """Stop it for good and leave nothing of it behind."""

    def tail(self) -> list[str]: ...

    def ledger(self, direction: str, xmpp: str, sip: str) -> list[str]:
        """How the messages between two users ended, the oldest first; `direction` is `to-sip` or `to-xmpp`."""

    def says(self, what: str, partner: str) -> bool:
        """Whether its log tells an administrator this of a partner: how a link was trusted (`external`, `dialback`) or
        used (`bidirectional`), that a `component` is connected, that an account is `signed-in` or its session `resumed`,
        or what is wrong with the certificate of one that it dials (the words of `lab.names.FAULTS`) or that calls
        (`caller-` before them), and what to do about it. Raises KeyError for another word."""

    def fault(self) -> str:
        """What is wrong with it though nobody stopped it (it has ended, it panicked); "" when nothing is."""


SUBJECTS: dict[str, Callable[[World], Subject]] = {"stoxgate": Stoxgate}


def chosen(world: World) -> Subject | None:
    """The subject named by SUBJECT; `none` runs only the cases that need no gateway."""
    name = os.environ.get("SUBJECT", "stoxgate")
    if name == "none":
        return None
    if name not in SUBJECTS:
        raise LabError(f"SUBJECT={name}: known are {', '.join(SUBJECTS)} and none")
    return SUBJECTS[name](world)
