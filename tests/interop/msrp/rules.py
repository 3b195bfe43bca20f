"""What RFC 4975 asks of a peer in an MSRP session, request by request: each check returns the breaches it found."""

from __future__ import annotations

from dataclasses import dataclass, field

from msrp.wire import ABSENT, IDENT, Fault, Frame, Range, Uri, parse_range

INTERRUPTIBLE = 2048  # octets: longer chunks must be interruptible (§7.1.1)
CODES = {200, 400, 403, 404, 408, 413, 415, 423, 425, 428, 481, 501, 506}
METHODS = {"SEND", "REPORT", "AUTH", "NICKNAME"}
FAILURE_REPORTS = {"yes", "no", "partial"}


@dataclass
class Limits:
    """What we told the peer in our session description. Types are lower-case; `*` takes any."""

    accept: tuple[str, ...] = ("text/plain",)
    wrapped: tuple[str, ...] = ()
    max_size: int = 0


@dataclass
class Whole:
    """A message that comes in chunks: what is known of it, and what came so far by its first octet."""

    total: int = ABSENT
    end: int = 0
    content: str = ""
    success: str = "no"
    failure: str = "yes"
    parts: dict[int, bytes] = field(default_factory=dict)

    def text(self) -> bytes | None:
        """All octets, or None while some are missing."""
        data = b""
        for start in sorted(self.parts):
            if start > len(data) + 1:
                return None
            data = data[:start - 1] + self.parts[start]
        return data if self.total in (ABSENT, len(data)) else None


def path_faults(frame: Frame, ours: Uri, theirs: Uri) -> list[str]:
    """To-Path is our path, From-Path the one that the peer has described (§7.1)."""
    faults = []
    for name, uri, wanted in (("To-Path", frame.to_path, ours), ("From-Path", frame.from_path, theirs)):
        if [part.key for part in uri] != [wanted.key]:
            faults.append(f"§7.1: {name} is {frame.get(name)}, not {wanted}")
        faults += [f"§6: {part} without a port" for part in uri if not part.port]
    return faults


def ident_faults(frame: Frame) -> list[str]:
    """A Message-ID is one of §9."""
    value = frame.get("Message-ID")
    if not value:
        return [f"§7.1: {frame.method} without Message-ID"]
    return [] if IDENT.fullmatch(value) else [f"§9: Message-ID {value!r}"]


def send_faults(frame: Frame, limits: Limits, known: dict[str, Whole]) -> list[str]:
    """A SEND: its headers, its octets against its Byte-Range, and its place in the message."""
    faults = ident_faults(frame)
    for name, words in (("Success-Report", {"yes", "no"}), ("Failure-Report", FAILURE_REPORTS)):
        if frame.has(name) and frame.get(name) not in words:
            faults.append(f"§9: {name}: {frame.get(name)}")
    if frame.has("Status"):
        faults.append("§7.1: Status in a SEND")
    if frame.body is None:
        return faults + ([] if frame.flag == "$" else [f"§5.4: a SEND without a body ends with {frame.flag}"])
    if not frame.has("Byte-Range"):
        return [*faults, "§7.1.1: a body without Byte-Range"]
    if frame.body == b"" and frame.flag == "+":
        faults.append("§7.1.1: a chunk of nothing")
    faults += type_faults(frame.get("Content-Type"), limits.accept)
    try:
        return faults + range_faults(frame, parse_range(frame.get("Byte-Range")), limits, known)
    except Fault as fault:
        return [*faults, str(fault)]


def type_faults(content: str, accepted: tuple[str, ...]) -> list[str]:
    """We said what we take (§8.6)."""
    kind = content.partition(";")[0].strip().lower()
    taken = "*" in accepted or kind in accepted or f"{kind.partition('/')[0]}/*" in accepted
    return [] if taken else [f"§8.6: {kind!r} was not in accept-types"]


def range_faults(frame: Frame, span: Range, limits: Limits, known: dict[str, Whole]) -> list[str]:
    """Byte-Range of a chunk: of itself, of its octets, and of the message (§7.1.1)."""
    octets = len(frame.body or b"")
    last = span.start + octets - 1
    faults = []
    if span.start < 1:
        faults.append(f"§9: Byte-Range {span} begins before 1")
    if span.end != ABSENT and span.end != last and not (octets == 0 and span.end == 0):
        faults.append(f"§7.1.1: Byte-Range {span} with {octets} octets")
    if span.end != ABSENT and octets > INTERRUPTIBLE:
        faults.append(f"§7.1.1: a chunk of {octets} octets that cannot be interrupted ({span})")
    if span.total != ABSENT and last > span.total:
        faults.append(f"§7.1.1: octets up to {last} of a message of {span.total}")
    if span.total != ABSENT and frame.flag == "$" and last != span.total:
        faults.append(f"§7.1.1: the last chunk ends at {last} of {span.total}")
    if span.total != ABSENT and frame.flag == "+" and last >= span.total:
        faults.append(f"§7.1.1: more announced after the last octet of {span}")
    if limits.max_size and max(last, span.total) > limits.max_size:
        faults.append(f"§8.6: {max(last, span.total)} octets, but max-size is {limits.max_size}")
    return faults + _sequel_faults(frame, span, known.get(frame.get("Message-ID")))


def _sequel_faults(frame: Frame, span: Range, before: Whole | None) -> list[str]:
    if before is None:
        return [] if span.start == 1 else [f"§7.1.1: the first chunk begins at {span.start}"]
    faults = []
    if span.start != before.end + 1:
        faults.append(f"§7.1.1: a chunk from {span.start}, but {before.end} octets were sent before")
    if ABSENT not in (before.total, span.total) and before.total != span.total:
        faults.append(f"§7.1.1: a total of {span.total} after one of {before.total}")
    if before.content != frame.get("Content-Type"):
        faults.append(f"§7.1.1: Content-Type changed to {frame.get('Content-Type')!r} within a message")
    for name, was in (("Success-Report", before.success), ("Failure-Report", before.failure)):
        if frame.get(name, "no" if name == "Success-Report" else "yes") != was:
            faults.append(f"§7.1.1: {name} changed within a message")
    return faults


def response_faults(frame: Frame, request: Frame | None) -> list[str]:
    """A response belongs to a request of ours that wants one, and goes back on its paths (§7.2)."""
    if request is None:
        return [f"§7.2: a response to {frame.tid!r}, which we did not send"]
    faults = []
    if frame.code not in CODES:
        faults.append(f"§10: status code {frame.code}")
    if frame.flag != "$":
        faults.append(f"§7.2: a response ends with {frame.flag}")
    if frame.body is not None:
        faults.append("§7.2: a response with a body")
    if request.method == "REPORT":
        faults.append("§7.1.2: a response to a REPORT")
    wish = request.get("Failure-Report", "yes")
    if request.method == "SEND" and wish == "no":
        faults.append("§7.1.1: a response to a SEND with Failure-Report: no")
    if request.method == "SEND" and wish == "partial" and frame.code == 200:
        faults.append("§7.1.1: a 200 to a SEND with Failure-Report: partial")
    for name, wanted in (("To-Path", request.from_path[0]), ("From-Path", request.to_path[0])):
        if [uri.key for uri in (frame.to_path if name == "To-Path" else frame.from_path)] != [wanted.key]:
            faults.append(f"§7.2: {name} of the response is {frame.get(name)}, not {wanted}")
    return faults


@dataclass
class Sent:
    """A message of ours as reports see it: its octets and what was asked for."""

    octets: int
    success: str
    failure: str


def report_faults(frame: Frame, sent: Sent | None) -> list[str]:
    """A REPORT is about a message of ours, asked for, in its bounds, and says how it went (§7.1.2)."""
    faults = ident_faults(frame)
    faults += [f"§7.1.2: {name} in a REPORT" for name in ("Success-Report", "Failure-Report") if frame.has(name)]
    if frame.flag != "$":
        faults.append(f"§7.1.2: a REPORT ends with {frame.flag}")
    namespace, _, rest = frame.get("Status").partition(" ")
    code = rest[:3]
    if namespace != "000" or not code.isdigit() or len(code) != 3:
        return [*faults, f"§9: Status {frame.get('Status')!r}"]
    if sent is None:
        return [*faults, f"§7.1.2: a REPORT about {frame.get('Message-ID')!r}, which we did not send"]
    if code == "200" and sent.success != "yes":
        faults.append("§7.1.2: a success REPORT that nobody asked for")
    if code != "200" and sent.failure == "no":
        faults.append("§7.1.2: a failure REPORT though Failure-Report was no")
    if not frame.has("Byte-Range"):
        return [*faults, "§7.1.2: a REPORT without Byte-Range"]
    try:
        span = parse_range(frame.get("Byte-Range"))
    except Fault as fault:
        return [*faults, str(fault)]
    if span.start < 1 or max(span.end, span.total) > max(sent.octets, 0):
        faults.append(f"§7.1.2: Byte-Range {span} of a message of {sent.octets} octets")
    return faults
