"""One MSRP session as its endpoint sees it: messages out in chunks, messages in put together, reports both ways."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from msrp import bodies
from msrp.link import Link
from msrp.rules import Sent, Whole, path_faults, report_faults, response_faults, send_faults, type_faults
from msrp.sdp import Description
from msrp.settings import Settings
from msrp.wire import ABSENT, Frame, Uri, parse_range

REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 413: "Stop Sending", 415: "Unsupported Media Type",
           423: "Out of Bounds", 425: "Nickname Usage Failed", 481: "No Such Session", 501: "Unknown Method",
           506: "Bound Elsewhere"}
Tell = Callable[..., None]


@dataclass
class Outgoing(Sent):
    """A message of ours until all is said about it. `label` is what steps call it."""

    label: str = ""
    open: set[str] = field(default_factory=set)
    worst: int = 0
    reported: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Manner:
    """How a text is sent: sizes of its chunks in turn (none: one), whether to ask for reports, and what is odd."""

    sizes: tuple[int, ...] = ()
    success: bool = False
    failure: str = ""
    kind: str = "text/plain"
    odd: tuple[str, ...] = ()


class Talk:
    """One session. `tell(kind, **fields)` is an event for the user, `fault(text)` a breach by the peer."""

    def __init__(self, ours: Uri, settings: Settings, identity: tuple[str, str], tell: Tell,
                 fault: Callable[[str], None], note: Callable[[str, str], None]) -> None:
        self.ours = ours
        self.settings = settings
        self.me, self.peer = identity
        self.mine = Description()
        self.theirs: Description | None = None
        self.active = False
        self.link: Link | None = None
        self.busy = settings.busy
        self.nickname: Callable[[Talk, str], int] | None = None
        self.on_text: Callable[[Talk, bodies.Wrapped], int] | None = None
        self._tell, self._fault, self._note = tell, fault, note
        self._requests: dict[str, tuple[Frame, str]] = {}
        self._out: dict[str, Outgoing] = {}
        self._in: dict[str, Whole] = {}
        self._waiting: list[Frame] = []
        self._asked: dict[str, tuple[str, str]] = {}
        self._unread: list[tuple[str, str]] = []
        self._typing = False
        self._refused: set[str] = set()

    @property
    def target(self) -> Uri:
        if self.theirs is None or not self.theirs.path:
            raise LookupError("the session has no peer yet")
        return self.theirs.path[-1]

    # Connections.

    def bind(self, link: Link) -> None:
        """This connection is the session's from now on; what waited goes out."""
        self.link = link
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._write(frame)

    def greet(self) -> None:
        """The active side speaks first, with nothing to say if need be (§5.4)."""
        if not self._waiting:
            self._request(self._frame("SEND", [("Message-ID", _ident())]), "")

    def _write(self, frame: Frame) -> None:
        if self.link is None:
            self._waiting.append(frame)
            return
        self._note("msrp>", str(frame))
        self.link.write(frame.encode())

    def raw(self, data: bytes) -> None:
        """Octets as they are, on the session's connection."""
        self._note("msrp>", data.decode(errors="replace"))
        if self.link is not None:
            self.link.write(data)

    def _frame(self, method: str, headers: list[tuple[str, str]], body: bytes | None = None, flag: str = "$",
               tid: str = "") -> Frame:
        paths = [("To-Path", str(self.target)), ("From-Path", str(self.ours))]
        return Frame(tid or _ident(), method, headers=[*paths, *headers], body=body, flag=flag)

    def _request(self, frame: Frame, label: str) -> None:
        self._requests[frame.tid] = (frame, label)
        self._write(frame)

    def forge(self, frame: Frame, label: str) -> None:
        """A request made by hand; its answer is an event `answer`."""
        self._request(frame, label)

    def expect(self, frame: Frame, label: str) -> None:
        """The same for a request that goes out by another way."""
        self._requests[frame.tid] = (frame, label)

    # What we send.

    def say(self, text: str, manner: Manner, to: str = "") -> str:
        """Send one text; returns its Message-ID. Its outcome is a `final` event."""
        body, kind = text.encode(), manner.kind
        if kind == "text/plain":
            kind = "text/plain;charset=UTF-8" if "charset" in manner.odd else kind
        if self.settings.cpim:
            message_id = _ident() if self.settings.wishes else ""
            wrapped = bodies.wrap(self.me, to or self.peer, body, f"{kind};charset=UTF-8", self.settings.wishes,
                                  message_id)
            self._asked[message_id] = (self.peer, text)
            body, kind = wrapped.encode(), bodies.CPIM
        return self.send(body, kind, manner, text)

    def send(self, body: bytes, kind: str, manner: Manner, label: str) -> str:
        """Send one body in the manner asked for."""
        message = _ident()
        failure = manner.failure or "yes"
        out = Outgoing(len(body), "yes" if manner.success else "no", failure, label)
        self._out[message] = out
        frames = self._chunks(message, body, kind, manner)
        if "reversed" in manner.odd:
            frames = [*frames[::-1]]
            for frame, flag in zip(frames, ["+"] * (len(frames) - 1) + ["$"], strict=True):
                frame.flag = flag
        if failure == "yes":
            out.open = {frame.tid for frame in frames}
        for frame in frames:
            self._request(frame, label)
        return message

    def chunks(self, text: str, manner: Manner) -> list[Frame]:
        """The frames of a text, not sent yet: for messages that are to be interleaved."""
        message = _ident()
        frames = self._chunks(message, text.encode(), "text/plain", manner)
        out = Outgoing(len(text.encode()), "no", "yes", text, {frame.tid for frame in frames})
        self._out[message] = out
        return frames

    def _chunks(self, message: str, body: bytes, kind: str, manner: Manner) -> list[Frame]:
        frames, at, turn = [], 0, 0
        sizes = manner.sizes or (max(len(body), 1),)
        total = "*" if "star" in manner.odd else str(len(body))
        while at < len(body) or not frames:
            part = body[at:at + sizes[turn % len(sizes)]]
            last = at + len(part) >= len(body)
            end = "*" if "star" in manner.odd or len(part) > 2048 else str(at + len(part))
            headers = [("Message-ID", message), ("Byte-Range", f"{at + 1}-{end}/{total}")]
            if manner.success:
                headers.append(("Success-Report", "yes"))
            if manner.failure:
                headers.append(("Failure-Report", manner.failure))
            headers.append(("Content-Type", kind))
            frames.append(self._frame("SEND", headers, part, "$" if last else "+", tid=_tid(part)))
            at, turn = at + len(part), turn + 1
        if "abort" in manner.odd:
            frames[-1].flag = "#"
        return frames

    def typing(self, state: str) -> None:
        body, kind = bodies.composing(state, 60 if state == "active" else 0), bodies.COMPOSING
        if self.settings.cpim:
            body, kind = bodies.wrap(self.me, self.peer, body, kind).encode(), bodies.CPIM
        self.send(body, kind, Manner(failure="no"), "")

    def read_all(self) -> None:
        """Tell the senders that wished to know that we have read what they wrote."""
        for message_id, sender in self._unread:
            self._notify(bodies.Disposition(message_id, "display", "displayed"), sender)
        self._unread.clear()

    def _notify(self, disposition: bodies.Disposition, sender: str) -> None:
        wrapped = bodies.wrap(self.me, sender, bodies.imdn(disposition, self.me), bodies.IMDN, message_id=_ident())
        wrapped.inner.append(("Content-Disposition", "notification"))
        self.send(wrapped.encode(), bodies.CPIM, Manner(failure="no"), "")

    def nick(self, name: str) -> None:
        """Ask the conference for a nickname (RFC 7701 §7)."""
        headers = [("Use-Nickname", f'"{name}"')] if name else []
        self._request(self._frame("NICKNAME", headers), name)

    # What comes.

    def take(self, link: Link, frame: Frame) -> None:
        """A request or a response on the session's connection."""
        if frame.code:
            self._response(frame)
            return
        for text in path_faults(frame, self.ours, self.target):
            self._fault(text)
        if self.active and link is not self.link:
            self._fault("4145 §4: we are the active side, and a connection came")
        actions = {"SEND": self._on_send, "REPORT": self._on_report, "NICKNAME": self._on_nickname}
        action = actions.get(frame.method)
        if action is None:
            self._fault(f"§9: method {frame.method}")
            self._respond(frame, 501)
        else:
            action(frame)

    def _respond(self, frame: Frame, code: int) -> None:
        wish = frame.get("Failure-Report", "yes")
        if frame.method == "SEND" and (wish == "no" or (wish == "partial" and code == 200)):
            return
        self._write(Frame(frame.tid, code=code, comment=REASONS.get(code, ""),
                          headers=[("To-Path", str(frame.from_path[0])), ("From-Path", str(frame.to_path[0]))]))

    def _response(self, frame: Frame) -> None:
        request, label = self._requests.pop(frame.tid, (None, ""))
        for text in response_faults(frame, request):
            self._fault(text)
        if request is None:
            return
        out = self._out.get(request.get("Message-ID"))
        if request.method == "NICKNAME":
            self._tell("nickname", status=str(frame.code), text=label)
        elif out is None:
            if label:
                self._tell("answer", status=str(frame.code), text=label)
        else:
            out.open.discard(frame.tid)
            out.worst = max(out.worst, frame.code)
            if not out.open and label:
                self._tell("final", status=str(out.worst), text=label)

    def _on_send(self, frame: Frame) -> None:
        message = frame.get("Message-ID")
        for text in send_faults(frame, self.mine.limits, self._in):
            self._fault(text)
        if message in self._refused:
            self._fault(f"§7.1.1: more of a message after {self.busy or 'a refusal'}")
        code = self.busy or self._judge(frame)
        if code == 1:
            return
        if code != 200:
            self._refused.add(message)
            self._respond(frame, code)
            return
        if frame.body is not None and frame.has("Byte-Range"):
            self._collect(frame, message)
        else:
            self._respond(frame, 200)

    def _judge(self, frame: Frame) -> int:
        kind = frame.get("Content-Type")
        return 415 if frame.body is not None and type_faults(kind, self.mine.limits.accept) else 200

    def _collect(self, frame: Frame, message: str) -> None:
        span = parse_range(frame.get("Byte-Range"))
        whole = self._in.setdefault(message, Whole(
            content=frame.get("Content-Type"), success=frame.get("Success-Report", "no"),
            failure=frame.get("Failure-Report", "yes")))
        whole.parts[span.start] = frame.body or b""
        whole.end = span.start - 1 + len(frame.body or b"")
        if span.total != ABSENT:
            whole.total = span.total
        if frame.flag == "#":
            self._respond(frame, 200)
            del self._in[message]
            self._tell("aborted", text=message)
            return
        if frame.flag == "+":
            self._respond(frame, 200)
            return
        data = whole.text()
        del self._in[message]
        if data is None:
            self._fault(f"§7.1.1: message {message} has ended, but octets are missing")
            self._respond(frame, 200)
            return
        self._respond(frame, self._deliver(whole.content, data))
        if whole.success == "yes" and self.settings.reports:
            self._report(message, len(data))

    def _report(self, message: str, octets: int) -> None:
        self._write(self._frame("REPORT", [("Message-ID", message), ("Byte-Range", f"1-{octets}/{octets}"),
                                           ("Status", "000 200 OK")]))

    def _deliver(self, content: str, data: bytes) -> int:
        """What a whole message means to the user; the code for its last chunk."""
        wrapped = bodies.Wrapped(inner=[("Content-Type", content)], body=data)
        kind = content.partition(";")[0].strip().lower()
        try:
            if kind == bodies.CPIM:
                wrapped = bodies.unwrap(data)
                kind = wrapped.kind.partition(";")[0].strip().lower()
                for text in type_faults(wrapped.kind, self.mine.limits.wrapped or self.mine.limits.accept):
                    self._fault(text)
            return self._understand(kind, wrapped)
        except Exception as error:  # noqa: BLE001  (whatever the peer sent, it is a fault of the peer)
            self._fault(str(error))
            return 400

    def _understand(self, kind: str, wrapped: bodies.Wrapped) -> int:
        if kind == bodies.COMPOSING:
            typing = bodies.read_composing(wrapped.body) == "active"
            if typing != self._typing:
                self._tell("typing" if typing else "typing-stopped")
            self._typing = typing
        elif kind == bodies.IMDN:
            self._imdn(wrapped)
        elif self.on_text is not None:
            return self.on_text(self, wrapped)
        else:
            self._typing = False
            text = wrapped.body.decode()
            self._tell("message", text=text if kind == "text/plain" else f"({kind}) {text}", sender=wrapped.uri("From"))
            self._acknowledge(wrapped)
        return 200

    def _acknowledge(self, wrapped: bodies.Wrapped) -> None:
        wishes = wrapped.get("Disposition-Notification")
        message_id, sender = wrapped.get("Message-ID"), wrapped.uri("From")
        if "positive-delivery" in wishes:
            self._notify(bodies.Disposition(message_id, "delivery", "delivered"), sender)
        if "display" in wishes:
            self._unread.append((message_id, sender))

    def _imdn(self, wrapped: bodies.Wrapped) -> None:
        found = bodies.read_imdn(wrapped.body)
        if wrapped.get("Disposition-Notification"):
            self._fault("5438 §8: an IMDN that asks for an IMDN")
        if found.message_id not in self._asked:
            self._fault(f"5438 §8: an IMDN about {found.message_id!r}, which we did not send")
            return
        _, text = self._asked[found.message_id]
        self._tell(found.word, text=text)

    def _on_report(self, frame: Frame) -> None:
        out = self._out.get(frame.get("Message-ID"))
        for text in report_faults(frame, out):
            self._fault(text)
        if out is None:
            return
        status = frame.get("Status")[4:7]
        if status != "200":
            self._tell("report", status=status, text=out.label)
            return
        span = parse_range(frame.get("Byte-Range"))
        end = out.octets if span.end == ABSENT else span.end
        new = set(range(span.start, end + 1))
        if new & out.reported:
            self._fault(f"§7.1.2: octets of {span} reported twice")
        out.reported |= new
        if len(out.reported) == out.octets:
            self._tell("receipt", text=out.label)

    def _on_nickname(self, frame: Frame) -> None:
        if self.nickname is None:
            self._fault("7701 §7: NICKNAME outside of a conference")
            self._respond(frame, 501)
            return
        name = frame.get("Use-Nickname")
        if len(name) < 2 or name[0] != '"' or name[-1] != '"':
            self._fault(f"7701 §7.1: Use-Nickname {name!r}")
            self._respond(frame, 400)
            return
        self._respond(frame, self.nickname(self, name[1:-1]))


def _ident() -> str:
    return secrets.token_hex(8)


def _tid(body: bytes) -> str:
    """A transaction id whose end-line is not in the body (§7.1)."""
    while True:
        tid = _ident()
        if b"-------" + tid.encode() not in body:
            return tid
