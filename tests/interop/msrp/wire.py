"""MSRP on the wire (RFC 4975 §9): requests, responses, and a reader of a stream that takes nothing wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

IDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}")
URI = re.compile(r"((?i:msrps?))://(?:([A-Za-z0-9\-_.!~*'()%;&=+$,]*)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::(\d{1,5}))?"
                 r"/([A-Za-z0-9\-_.~+=/]+);(\w+)((?:;[A-Za-z0-9\-_.!%*+`'~]+(?:=[^;\s]+)?)*)")
RANGE = re.compile(r"(\d+)-(\d+|\*)/(\d+|\*)")
HEADER = re.compile(r"([A-Za-z][A-Za-z0-9.\-!%*_+`'~]*): (.*)")
HEAD_LIMIT = 16384
ABSENT = -1  # the `*` of a Byte-Range


class Fault(Exception):
    """The peer broke a rule. The text names it."""


@dataclass(frozen=True)
class Uri:
    """An MSRP URI (RFC 4975 §6). Port 0: none was given."""

    scheme: str
    host: str
    port: int
    session: str
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What two equal URIs have in common: the session id is compared with its case (§6.1)."""
        return self.scheme, self.host.lower(), self.port, self.session


def parse_uri(text: str) -> Uri:
    """Raises Fault."""
    found = URI.fullmatch(text)
    if not found:
        raise Fault(f"§9: no MSRP URI: {text!r}")
    if found[6].lower() != "tcp":
        raise Fault(f"§6: transport {found[6]!r} in {text!r}")
    port = int(found[4] or 0)
    if port > 65535:
        raise Fault(f"§9: port in {text!r}")
    return Uri(found[1].lower(), found[3], port, found[5], text)


def parse_path(text: str) -> list[Uri]:
    return [parse_uri(part) for part in text.split(" ")]


@dataclass(frozen=True)
class Range:
    """A Byte-Range; `end` and `total` are ABSENT for `*`."""

    start: int
    end: int
    total: int

    def __str__(self) -> str:
        end, total = ("*" if value == ABSENT else str(value) for value in (self.end, self.total))
        return f"{self.start}-{end}/{total}"


def parse_range(text: str) -> Range:
    """Raises Fault."""
    found = RANGE.fullmatch(text)
    if not found:
        raise Fault(f"§9: Byte-Range {text!r}")
    end, total = (ABSENT if value == "*" else int(value) for value in (found[2], found[3]))
    return Range(int(found[1]), end, total)


@dataclass
class Frame:
    """One request (`method`) or response (`code`), with its end-line's flag: `$` the end, `+` more, `#` given up."""

    tid: str
    method: str = ""
    code: int = 0
    comment: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    flag: str = "$"

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), default)

    def has(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.headers)

    @property
    def to_path(self) -> list[Uri]:
        return parse_path(self.get("To-Path"))

    @property
    def from_path(self) -> list[Uri]:
        return parse_path(self.get("From-Path"))

    def encode(self) -> bytes:
        first = f"MSRP {self.tid} {self.method}" if self.method else f"MSRP {self.tid} {self.code:03} {self.comment}"
        head = "\r\n".join([first.rstrip(), *(f"{name}: {value}" for name, value in self.headers)]).encode()
        body = b"" if self.body is None else b"\r\n\r\n" + self.body
        return head + body + f"\r\n-------{self.tid}{self.flag}\r\n".encode()

    def __str__(self) -> str:
        return self.encode().decode(errors="replace")


class Reader:
    """Cuts a stream into frames. Raises Fault for what RFC 4975 §9 does not allow."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        self.rest += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        line, end, _ = self.rest.partition(b"\r\n")
        if not end:
            self._bounded(self.rest)
            return None
        frame = _start(line)
        mark = b"\r\n-------" + frame.tid.encode()
        at = self.rest.find(mark)
        while at >= 0:
            tail = self.rest[at + len(mark):at + len(mark) + 3]
            if len(tail) < 3:
                return None
            if tail[:1] in b"$+#" and tail[1:] == b"\r\n":
                break
            at = self.rest.find(mark, at + 1)
        if at < 0:
            head, blank, _ = self.rest.partition(b"\r\n\r\n")
            self._bounded(head if not blank else b"")
            return None
        frame.flag = chr(self.rest[at + len(mark)])
        content = self.rest[len(line) + 2:at] if at > len(line) else b""
        self.rest = self.rest[at + len(mark) + 3:]
        _fill(frame, content)
        return frame

    @staticmethod
    def _bounded(head: bytes) -> None:
        if len(head) > HEAD_LIMIT:
            raise Fault(f"a head of more than {HEAD_LIMIT} octets")


def _start(line: bytes) -> Frame:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Fault(f"§9: first line {line!r}") from error
    found = re.fullmatch(r"MSRP (\S+) (?:([A-Z]+)|(\d{3})(?: (.*))?)", text)
    if not found:
        raise Fault(f"§9: first line {text[:200]!r}")
    if not IDENT.fullmatch(found[1]):
        raise Fault(f"§9: transaction id {found[1]!r}")
    return Frame(found[1], method=found[2] or "", code=int(found[3] or 0), comment=found[4] or "")


def _fill(frame: Frame, content: bytes) -> None:
    head, blank, body = content.partition(b"\r\n\r\n")
    if content.startswith(b"\r\n") or not content:
        raise Fault("§9: no headers")
    if blank:
        frame.body = body
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise Fault(f"§9: headers {head[:200]!r}") from error
    for line in lines:
        found = HEADER.fullmatch(line)
        if not found:
            raise Fault(f"§9: header line {line[:200]!r}")
        frame.headers.append((found[1], found[2]))
    names = [name for name, _ in frame.headers]
    if names[:2] != ["To-Path", "From-Path"]:
        raise Fault(f"§9: headers begin with {names[:2]}, not with To-Path and From-Path")
    twice = {name for name in names if sum(other.lower() == name.lower() for other in names) > 1}
    if twice:
        raise Fault(f"§9: {', '.join(sorted(twice))} more than once")
    if frame.body is not None and names[-1] != "Content-Type":
        raise Fault("§9: a body, but Content-Type is not the last header")
    if frame.body is None and "Content-Type" in names:
        raise Fault("§9: Content-Type, but no body")
    for value in (frame.get("To-Path"), frame.get("From-Path")):
        parse_path(value)
