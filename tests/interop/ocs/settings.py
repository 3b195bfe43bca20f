"""What a case may ask of the stand-in."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    """The `[edge]` table of a case.

    negotiate: the Edge offers compression (NEGOTIATE) first on each connection that it opens.
    page_mode: the answer to a MESSAGE from federation that belongs to no session.
    expires: seconds that a subscription of a federated user gets.
    rings: seconds until a partner hears the answer of a client, as when a user has several devices and OCS waits which
    of them is the busiest; progress reports come before.
    forks: a second device answers each INVITE too, under a tag of its own, and must be let go.
    """

    negotiate: bool = False
    page_mode: int = 405
    expires: int = 28800
    rings: int = 0
    forks: bool = False


def read(table: dict[str, bool | int]) -> Settings:
    """Raises ValueError for a word that is no setting."""
    unknown = set(table) - {field.name for field in fields(Settings)}
    if unknown:
        raise ValueError(f"unknown edge settings: {', '.join(sorted(unknown))}")
    return Settings(**table)  # type: ignore[arg-type]
