"""What a case may ask of an MSRP user: the `msrp` table of a user."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    """secure: MSRP over TLS, with fingerprints. setup: what it offers (RFC 4145); empty says nothing.
    eager: as the active side that answers, it connects with its 200, and not after the ACK.
    accept, wrapped: its accept-types and accept-wrapped-types. max_size: 0 says nothing.
    cpim: it wraps what it sends. wishes: IMDN that it asks for in its wrappers (`positive-delivery, display`).
    refuse: a status for each INVITE that comes; 1 is a 200 that declines the stream. busy: a code for each SEND that
    comes, 1 for no answer at all. reports: it sends the success REPORTs that it is asked for.
    page: the types that it takes outside of sessions. says: `sessions` where its texts go into sessions, or `pages`.
    chatroom: it can take part in rooms (RFC 7701). focus: it is a room, whose focus answers.
    """

    secure: bool = False
    setup: str = "actpass"
    eager: bool = False
    accept: str = "text/plain application/im-iscomposing+xml"
    wrapped: str = ""
    max_size: int = 0
    cpim: bool = False
    wishes: str = ""
    refuse: int = 0
    busy: int = 0
    reports: bool = True
    page: str = "text/plain message/cpim application/im-iscomposing+xml"
    says: str = "sessions"
    chatroom: bool = False
    focus: bool = False


def read(table: dict[str, object]) -> Settings:
    """Raises ValueError for a word that is no setting."""
    unknown = set(table) - {field.name for field in fields(Settings)}
    if unknown:
        raise ValueError(f"unknown MSRP settings: {', '.join(sorted(unknown))}")
    return Settings(**table)  # type: ignore[arg-type]
