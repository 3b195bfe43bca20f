"""SIP messages as text: just enough of RFC 3261 for a user agent in tests, and strict about what it reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
           "c": "content-type", "o": "event", "u": "allow-events", "e": "content-encoding", "s": "subject",
           "k": "supported"}
VERSION = "SIP/2.0"


class Malformed(Exception):
    """The peer sent something that is not SIP."""


@dataclass
class SipMessage:
    """A request (`method`, `uri`) or a response (`status`, `reason`)."""

    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def is_request(self) -> bool:
        return bool(self.method)

    def get(self, name: str, default: str = "") -> str:
        found = self.all(name)
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def add(self, name: str, value: str) -> SipMessage:
        self.headers.append((name, value))
        return self

    @property
    def cseq(self) -> tuple[int, str]:
        number, _, method = self.get("CSeq").partition(" ")
        return int(number), method.strip()

    @property
    def branch(self) -> str:
        return parameter(self.get("Via"), "branch")

    def encode(self) -> bytes:
        first = f"{self.method} {self.uri} {VERSION}" if self.is_request else f"{VERSION} {self.status} {self.reason}"
        lines = [first, *(f"{name}: {value}" for name, value in self.headers), f"Content-Length: {len(self.body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body

    def __str__(self) -> str:
        return self.encode().decode(errors="replace")


def parse(data: bytes, branches: bool = True) -> SipMessage:
    """One whole message, every Via with the branch of RFC 3261 unless told otherwise. Raises Malformed."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise Malformed("no empty line behind the headers")
    try:
        first, *lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise Malformed(str(error)) from error
    message = _start(first)
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9\-.!%*_+`'~]+ *", name):
            raise Malformed(f"header line {line!r}")
        name = name.strip()
        message.headers.append((COMPACT.get(name.lower(), name), value.strip()))
    _check(message, branches)
    length = int(message.get("content-length") or len(body))
    if length > len(body):
        raise Malformed(f"Content-Length {length}, but {len(body)} octets")
    message.body = body[:length]
    message.headers = [(name, value) for name, value in message.headers if name.lower() != "content-length"]
    return message


def _start(line: str) -> SipMessage:
    response = re.fullmatch(r"SIP/2\.0 (\d{3}) ?(.*)", line)
    if response:
        return SipMessage(status=int(response[1]), reason=response[2])
    request = re.fullmatch(r"([A-Z]+) (\S+) SIP/2\.0", line)
    if not request:
        raise Malformed(f"start line {line!r}")
    return SipMessage(method=request[1], uri=request[2])


def _check(message: SipMessage, branches: bool) -> None:
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        if not message.get(name):
            raise Malformed(f"no {name} in {message.method or message.status}")
    if message.is_request and message.cseq[1] != message.method:
        raise Malformed(f"CSeq {message.get('CSeq')!r} in {message.method}")
    if branches and not message.branch.startswith("z9hG4bK"):
        raise Malformed(f"branch {message.branch!r}")


def frame(buffer: bytes) -> tuple[bytes | None, bytes]:
    """The first message of a stream buffer (or None) and what is left; leading CRLFs are skipped."""
    buffer = buffer.lstrip(b"\r\n")
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator:
        return None, buffer
    found = re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)", head)
    if not found:
        raise Malformed("no Content-Length on a stream")
    length = int(found[1])
    if len(rest) < length:
        return None, buffer
    return head + separator + rest[:length], rest[length:]


def parameter(value: str, name: str) -> str:
    """A header parameter's value, unquoted; "" when absent."""
    tail = value.rpartition(">")[2] if "<" in value else value
    found = re.search(rf';\s*{re.escape(name)}\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]+)', tail, re.IGNORECASE)
    return found[1].strip('"') if found else ""


def address(value: str) -> str:
    """The URI of a From/To/Contact value, without header parameters."""
    found = re.search(r"<([^>]*)>", value)
    return found[1] if found else value.partition(";")[0].strip()


def bare(uri: str) -> str:
    """user@domain of a SIP URI: what a user knows somebody as."""
    found = re.match(r"(?:sips?|pres|im):([^;?]+)", uri)
    if not found:
        raise Malformed(f"URI {uri!r}")
    return re.sub(r":\d+$", "", found[1])
