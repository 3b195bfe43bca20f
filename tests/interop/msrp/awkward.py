"""What a peer may do wrong, or right in a way that few expect, by name. Each gets the session that it happens in."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msrp.link import Link
from msrp.talk import Talk
from msrp.wire import Frame, parse_uri

TEXT = b"This must not reach anybody."
HUGE = 1 << 40  # octets that are announced, never sent
LONG = 6_000_000  # octets that are sent in one chunk
HEAD = 70_000  # octets of one header


@dataclass(frozen=True)
class Attack:
    """`label` is what the answer's event is called; `second` makes another connection to the peer."""

    talk: Talk
    label: str
    second: Callable[[], Awaitable[Link]]

    def send(self, span: str = f"1-{len(TEXT)}/{len(TEXT)}", body: bytes = TEXT, flag: str = "$",
             message: str = "", **more: str) -> Frame:
        """A SEND by hand; a header given as "" is left out, `to` and `sender` replace the paths."""
        to, sender = more.pop("to", str(self.talk.target)), more.pop("sender", str(self.talk.ours))
        headers = {"To-Path": to, "From-Path": sender, "Message-ID": message or secrets.token_hex(8),
                   "Byte-Range": span, "Content-Type": "text/plain"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        kept = [(name, value) for name, value in headers.items() if value]
        kept.sort(key=lambda pair: pair[0] == "Content-Type")
        return Frame(secrets.token_hex(8), "SEND", headers=kept, body=body, flag=flag)

    def go(self, frame: Frame) -> None:
        self.talk.forge(frame, self.label)


Variant = Callable[[Attack], Awaitable[None]]


def one(make: Callable[[Attack], Frame]) -> Variant:
    """A variant that is one request."""
    async def act(attack: Attack) -> None:
        attack.go(make(attack))
    return act


def octets(make: Callable[[Attack], bytes]) -> Variant:
    """A variant that is octets no frame could hold."""
    async def act(attack: Attack) -> None:
        attack.talk.raw(make(attack))
    return act


def _other_session(uri: str) -> str:
    session = parse_uri(uri).session
    return uri.replace(session, secrets.token_hex(len(session) // 2 + 1))


def _without_end(attack: Attack) -> bytes:
    frame = attack.send()
    return frame.encode().replace(f"-------{frame.tid}".encode(), b"-------elsewhere00")


def _swapped_paths(attack: Attack) -> bytes:
    frame = attack.send()
    frame.headers[0], frame.headers[1] = frame.headers[1], frame.headers[0]
    return frame.encode()


async def _slow(attack: Attack) -> None:
    """A good message, octet by octet."""
    text = b"Slowly, but all of it."
    frame = attack.send(f"1-{len(text)}/{len(text)}", text)
    attack.talk.expect(frame, attack.label)
    for octet in frame.encode():
        attack.talk.raw(bytes([octet]))
        await asyncio.sleep(0.002)


async def _overlapping(attack: Attack) -> None:
    """A good message whose second chunk says again what the first said (RFC 4975 §7.3.1: last one wins)."""
    message = secrets.token_hex(8)
    attack.go(attack.send("1-*/14", b"Over and ov", "+", message))
    attack.go(attack.send("10-14/14", b"over.", "$", message))


async def _second_connection(attack: Attack) -> None:
    link = await attack.second()
    frame = attack.send()
    attack.talk.expect(frame, attack.label)
    link.write(frame.encode())


async def _silent_connection(attack: Attack) -> None:
    await attack.second()


async def _contradiction(attack: Attack) -> None:
    """Two chunks of one message that disagree about its length."""
    message = secrets.token_hex(8)
    attack.go(attack.send("1-7/28", TEXT[:7], "+", message))
    attack.go(attack.send("8-28/999", TEXT[7:], "$", message))


async def _never_ends(attack: Attack) -> None:
    """Many messages that are begun and left."""
    for _ in range(200):
        attack.go(attack.send("1-7/28", TEXT[:7], "+"))


def _report(attack: Attack) -> Frame:
    frame = attack.send(body=b"")
    frame.method, frame.body = "REPORT", None
    frame.headers = [pair for pair in frame.headers if pair[0] != "Content-Type"] + [("Status", "000 200 OK")]
    return frame


VARIANTS: dict[str, Variant] = {
    "range-backwards": one(lambda attack: attack.send("28-1/28")),
    "range-zero": one(lambda attack: attack.send("0-27/28")),
    "range-short": one(lambda attack: attack.send("1-3/28")),
    "range-beyond": one(lambda attack: attack.send("1-28/3")),
    "range-words": one(lambda attack: attack.send("one-two/three")),
    "range-overflow": one(lambda attack: attack.send(f"1-{10 ** 30}/{10 ** 30}")),
    "wrong-session": one(lambda attack: attack.send(to=_other_session(str(attack.talk.target)))),
    "wrong-sender": one(lambda attack: attack.send(sender=_other_session(str(attack.talk.ours)))),
    "no-message-id": one(lambda attack: attack.send(Message_ID="")),
    "unknown-type": one(lambda attack: attack.send(Content_Type="application/x-nobody-takes-this")),
    "unknown-method": one(lambda attack: Frame(secrets.token_hex(8), "SPAM", headers=attack.send().headers[:3])),
    "huge-announced": one(lambda attack: attack.send(f"1-*/{HUGE}", flag="+")),
    "huge-chunk": one(lambda attack: attack.send(f"1-*/{LONG}", b"x" * LONG)),
    "not-utf8": one(lambda attack: attack.send("1-4/4", b"\xff\xfe\xe9\xff")),
    "nul": one(lambda attack: attack.send("1-5/5", b"a\0b\x01c")),
    "stray-report": one(_report),
    "stray-response": octets(lambda attack: Frame(
        secrets.token_hex(8), code=200, comment="OK", headers=attack.send().headers[:2]).encode()),
    "swapped-paths": octets(_swapped_paths),
    "wrong-end-line": octets(_without_end),
    "long-header": octets(lambda attack: attack.send(Subject="x" * HEAD).encode()),
    "garbage": octets(lambda attack: b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n"),
    "binary": octets(lambda attack: bytes(range(256)) * 40),
    "slow": _slow, "overlapping": _overlapping, "second-connection": _second_connection,
    "silent-connection": _silent_connection, "contradiction": _contradiction, "never-ends": _never_ends,
}
