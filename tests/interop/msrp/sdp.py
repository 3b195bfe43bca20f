"""Session descriptions with MSRP in them (RFC 4975 §8, RFC 4145 and 4572 for connections, RFC 7701 for rooms)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from msrp.rules import Limits
from msrp.wire import Fault, Uri, parse_path

PROTOCOLS = {"TCP/MSRP": "msrp", "TCP/TLS/MSRP": "msrps"}
SETUPS = ("active", "passive", "actpass", "holdconn")
ANSWERS = {"active": ("passive",), "passive": ("active",), "actpass": ("active", "passive"),
           "holdconn": ("holdconn",), "": ("active",)}


@dataclass
class Description:
    """The MSRP stream of an offer or an answer."""

    path: list[Uri] = field(default_factory=list)
    accept: tuple[str, ...] = ()
    wrapped: tuple[str, ...] = ()
    max_size: int = 0
    setup: str = ""
    fingerprint: str = ""
    chatroom: tuple[str, ...] | None = None
    secure: bool = False
    port: int = 0
    direction: str = "sendrecv"

    @property
    def limits(self) -> Limits:
        return Limits(self.accept, self.wrapped, self.max_size)


def write(mine: Description, host: str, session: str, version: int = 1) -> bytes:
    """One description with one stream. `path` is ours."""
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- {session} {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0",
             f"m=message {mine.port} {'TCP/TLS/MSRP' if mine.secure else 'TCP/MSRP'} *",
             f"a=accept-types:{' '.join(mine.accept)}"]
    if mine.wrapped:
        lines.append(f"a=accept-wrapped-types:{' '.join(mine.wrapped)}")
    if mine.max_size:
        lines.append(f"a=max-size:{mine.max_size}")
    if mine.setup:
        lines.append(f"a=setup:{mine.setup}")
    if mine.fingerprint:
        lines.append(f"a=fingerprint:SHA-256 {mine.fingerprint}")
    if mine.chatroom is not None:
        lines.append(f"a=chatroom:{' '.join(mine.chatroom)}".rstrip(":"))
    if mine.direction != "sendrecv":
        lines.append(f"a={mine.direction}")
    lines.append(f"a=path:{' '.join(map(str, mine.path))}")
    return ("\r\n".join(lines) + "\r\n").encode()


def refused(offer: bytes) -> bytes:
    """An answer that declines every stream (RFC 3264 §6)."""
    text = offer.decode(errors="replace")
    media = re.findall(r"(?m)^m=(\S+) \d+ (.*?)\r?$", text)
    head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    return (head + "".join(f"m={kind} 0 {rest}\r\n" for kind, rest in media)).encode()


def read(data: bytes) -> Description:
    """The first MSRP stream. Raises Fault for what RFC 4566 and RFC 4975 §8 do not allow."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Fault("4566 §5: no UTF-8") from error
    if not text.endswith("\r\n"):
        raise Fault("4566 §5: the last line of the description has no end")
    lines = text[:-2].split("\r\n")
    if any(not re.fullmatch(r"[a-z]=.+", line) for line in lines):
        raise Fault(f"4566 §5: lines {[line for line in lines if not re.fullmatch(r'[a-z]=.+', line)]}")
    _order(lines)
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        media = lines[start].split(" ")
        if len(media) == 4 and media[0] == "m=message" and media[2] in PROTOCOLS:
            return _stream(media, lines[start + 1:end], lines[:starts[0]])
    raise Fault(f"§8: no MSRP stream in {[lines[at] for at in starts]}")


def _order(lines: list[str]) -> None:
    head = "".join(line[0] for line in lines).partition("m")[0]
    if not re.fullmatch(r"vosi?u?e*p*c?b*(?:tr*)+z?k?a*", head):
        raise Fault(f"4566 §5: the session's lines come as {head!r}")
    origin = lines[1].split(" ")
    if len(origin) != 6 or not origin[1].isdigit() or not origin[2].isdigit():
        raise Fault(f"4566 §5.2: {lines[1]}")


def _stream(media: list[str], lines: list[str], session: list[str]) -> Description:
    attributes: dict[str, str] = {}
    for line in [*session, *lines]:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            attributes[name] = value
    if not any(line.startswith("c=") for line in [*session, *lines]):
        raise Fault("4566 §5.7: no connection line")
    secure = media[2] == "TCP/TLS/MSRP"
    port = int(media[1])
    found = Description(port=port, secure=secure, setup=attributes.get("setup", ""),
                        accept=tuple(attributes.get("accept-types", "").lower().split()),
                        wrapped=tuple(attributes.get("accept-wrapped-types", "").lower().split()),
                        fingerprint=attributes.get("fingerprint", ""),
                        chatroom=tuple(attributes["chatroom"].split()) if "chatroom" in attributes else None,
                        direction=next((word for word in ("sendonly", "recvonly", "inactive") if word in attributes),
                                       "sendrecv"))
    if port == 0:
        return found
    if media[3] != "*":
        raise Fault(f"§8.1: the format list is {media[3]!r}, not *")
    if not found.accept:
        raise Fault("§8.6: no accept-types")
    if "max-size" in attributes:
        if not attributes["max-size"].isdigit():
            raise Fault(f"§8.6: max-size {attributes['max-size']!r}")
        found.max_size = int(attributes["max-size"])
    if found.setup and found.setup not in SETUPS:
        raise Fault(f"4145 §4: setup {found.setup!r}")
    _path(found, attributes.get("path", ""), secure, port)
    return found


def _path(found: Description, text: str, secure: bool, port: int) -> None:
    if not text:
        raise Fault("§8.2: no path")
    found.path = parse_path(text)
    last = found.path[-1]
    if (last.scheme == "msrps") != secure:
        raise Fault(f"§8.1: {last} in a stream that is{'' if secure else ' not'} TLS")
    if any(not uri.port for uri in found.path):
        raise Fault(f"§8.2: a path without ports: {text}")
    if last.port != port:
        raise Fault(f"§8.1: port {port} in the m= line, but {last.port} in the path")
    if secure and not re.fullmatch(r"(?i)sha-(?:1|256|384|512) [0-9A-F]{2}(?::[0-9A-F]{2})+", found.fingerprint):
        raise Fault(f"§14.4: TLS without a proper fingerprint: {found.fingerprint!r}")


def answer_faults(offer: Description, answer: Description) -> list[str]:
    """An answer fits its offer (RFC 3264, RFC 4145 §4.1)."""
    faults = []
    if offer.secure != answer.secure:
        faults.append("3264 §6: the answer's protocol is not the offer's")
    if answer.setup and answer.setup not in ANSWERS[offer.setup]:
        faults.append(f"4145 §4.1: setup {answer.setup!r} in answer to {offer.setup!r}")
    return faults
