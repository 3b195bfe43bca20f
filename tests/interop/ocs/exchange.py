"""Streams of SIP messages to clients or partners, and the requests that wait for answers on them."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from agents.ladder import Ladder
from agents.sip_text import Malformed, SipMessage, frame, parameter, parse

Answer = Callable[[SipMessage], None]
COPIED = ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq")


class Link(asyncio.Protocol):
    """One connection, cut into messages."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.exchange.links.add(self)

    @property
    def peer(self) -> tuple[str, int]:
        name = self.transport.get_extra_info("peername") if self.transport is not None else None
        return (str(name[0]), int(name[1])) if name else ("", 0)

    @property
    def names(self) -> set[str]:
        """The host names that the peer's certificate proves."""
        secured = self.transport.get_extra_info("ssl_object") if self.transport else None
        certificate = secured.getpeercert() if isinstance(secured, ssl.SSLObject) else None
        return {str(value) for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "DNS"}

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            while True:
                message, self.buffer = frame(self.buffer)
                if message is None:
                    return
                self.exchange.received(self, message)
        except Malformed as error:
            self.exchange.complain(f"could not read what came: {error}", self.buffer)
            self.close()
        except Exception as error:
            self.exchange.complain(f"failed: {error!r}")
            raise

    def write(self, message: SipMessage) -> None:
        self.exchange.note(">", message)
        if self.transport is not None:
            self.transport.write(message.encode())

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def cut(self) -> None:
        """End the connection with a reset."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.exchange.lost(self)


@dataclass
class Pending:
    """A request of ours that has no final answer yet."""

    link: Link
    request: SipMessage
    on_answer: Answer


class Exchange:
    """One side of the stand-in: `on_request` gets what comes, `send` asks and tells of every response."""

    def __init__(self, label: str, via: str, ladder: Ladder, branches: bool) -> None:
        self.label = label
        self.via = via
        self.ladder = ladder
        self.branches = branches
        self.links: set[Link] = set()
        self.complaints: list[str] = []
        self.on_request: Callable[[Link, SipMessage], None] = lambda link, request: None
        self.on_lost: Callable[[Link], None] = lambda link: None
        self._pending: dict[tuple[str, str], Pending] = {}

    def note(self, arrow: str, message: SipMessage) -> None:
        self.ladder.note(self.label, arrow, str(message))

    def complain(self, what: str, data: bytes = b"") -> None:
        self.complaints.append(f"{self.label} {what}")
        if data:
            self.ladder.note(self.label, "<!", data.decode(errors="replace"))

    def received(self, link: Link, data: bytes) -> None:
        message = parse(data, self.branches)
        self.note("<", message)
        if message.is_request:
            self.on_request(link, message)
            return
        key = (message.branch, message.cseq[1])
        waiting = self._pending.get(key)
        if waiting is None:
            if message.cseq[1] != "CANCEL":
                self.complain(f"got a {message.status} to {message.get('CSeq')} that nobody waits for")
            return
        if message.status >= 200:
            del self._pending[key]
        waiting.on_answer(message)

    def send(self, link: Link, request: SipMessage, on_answer: Answer, branch: str = "") -> str:
        """Send a request under a Via of ours; return its branch. A lost connection answers 503 in the peer's place."""
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        request.headers.insert(0, ("Via", f"{self.via};branch={branch};branched=FALSE"))
        if request.method not in ("ACK", "BENOTIFY"):
            self._pending[branch, request.method] = Pending(link, request, on_answer)
        link.write(request)
        return branch

    def forget(self, link: Link) -> None:
        """Answer for a peer that is gone."""
        for key in [key for key, waiting in self._pending.items() if waiting.link is link]:
            waiting = self._pending.pop(key)
            waiting.on_answer(respond(waiting.request, 503, "Service Unavailable"))

    def lost(self, link: Link) -> None:
        self.links.discard(link)
        self.forget(link)
        self.on_lost(link)

    def close(self) -> None:
        self.on_lost = lambda link: None
        for link in list(self.links):
            link.close()


def respond(request: SipMessage, status: int, reason: str) -> SipMessage:
    """A response with what it must repeat, and a To tag."""
    response = SipMessage(status=status, reason=reason)
    for name in COPIED:
        for value in request.all(name):
            if name == "To" and status > 100 and not parameter(value, "tag"):
                value += f";tag={secrets.token_hex(5)}"
            response.add(name, value)
    return response


def without(message: SipMessage, *names: str) -> SipMessage:
    """Take these headers out of the message."""
    lower = {name.lower() for name in names}
    message.headers = [(name, value) for name, value in message.headers if name.lower() not in lower]
    return message


def pop_via(response: SipMessage, count: int = 1) -> SipMessage:
    """Take the uppermost Via lines out of the response."""
    kept: list[tuple[str, str]] = []
    for name, value in response.headers:
        if name.lower() == "via" and count > 0:
            count -= 1
        else:
            kept.append((name, value))
    response.headers = kept
    return response
