"""What all verbs share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from runner.case import Step
from runner.stage import Stage

Act = Callable[[Stage, Step, list[str]], Awaitable[None]]


class BadStep(Exception):
    """A step that nobody understands."""


def address_of(stage: Stage, name: str) -> str:
    return stage.case.users[name].address if name in stage.case.users else name


def word_at(words: list[str], position: int) -> str:
    return words[position] if len(words) > position else ""
