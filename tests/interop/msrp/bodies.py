"""What goes in MSRP messages: CPIM wrappers (RFC 3862), IMDN (RFC 5438), isComposing (RFC 3994)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree import ElementTree

from msrp.wire import Fault

CPIM = "message/cpim"
IMDN = "message/imdn+xml"
COMPOSING = "application/im-iscomposing+xml"
IMDN_NS = "urn:ietf:params:xml:ns:imdn"
COMPOSING_NS = "urn:ietf:params:xml:ns:im-iscomposing"
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
ADDRESS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"<>]*?) ?<([a-z][a-z0-9+.\-]*:[^<>\s]+)>')


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Wrapped:
    """A message/cpim: its headers (name as written, value), those of the content, and the content."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    inner: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str) -> str:
        """A header of the message, by its local name."""
        return next((value for key, value in self.headers if key.rpartition(".")[2] == name), "")

    @property
    def kind(self) -> str:
        return next((value for key, value in self.inner if key.lower() == "content-type"), "")

    def uri(self, name: str) -> str:
        found = ADDRESS.fullmatch(self.get(name))
        return found[1] if found else ""

    def encode(self) -> bytes:
        blocks = ["\r\n".join(f"{name}: {value}" for name, value in block) for block in (self.headers, self.inner)]
        return ("\r\n\r\n".join(blocks) + "\r\n\r\n").encode() + self.body


def wrap(sender: str, recipient: str, body: bytes, kind: str, wishes: str = "",
         message_id: str = "") -> Wrapped:
    """A message for one recipient. wishes: the value of imdn.Disposition-Notification."""
    headers = [("From", f"<{sender}>"), ("To", f"<{recipient}>"), ("DateTime", _now())]
    if message_id:
        headers += [("NS", f"imdn <{IMDN_NS}>"), ("imdn.Message-ID", message_id)]
    if wishes:
        headers.append(("imdn.Disposition-Notification", wishes))
    return Wrapped(headers, [("Content-Type", kind)], body)


def unwrap(data: bytes) -> Wrapped:
    """Raises Fault for what RFC 3862 does not allow."""
    outer, blank, rest = data.partition(b"\r\n\r\n")
    inner, second, body = rest.partition(b"\r\n\r\n")
    if not blank or not second:
        raise Fault("3862 §2: a message/cpim has two blocks of headers and an empty line behind each")
    wrapped = Wrapped(_headers(outer, "[A-Za-z0-9.!#$%&'*+\\-^_`|~]+"), _headers(inner, "[A-Za-z0-9\\-]+"), body)
    _check(wrapped)
    return wrapped


def _headers(block: bytes, name: str) -> list[tuple[str, str]]:
    try:
        lines = block.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise Fault(f"3862 §3.1: headers are not UTF-8: {block[:200]!r}") from error
    found = [re.fullmatch(rf"({name}): ?(.*)", line) for line in lines if line]
    if not all(found):
        raise Fault(f"3862 §3.1: header lines {lines}")
    return [(match[1], match[2]) for match in found if match]


def _check(wrapped: Wrapped) -> None:
    for name in ("From", "To"):
        if wrapped.get(name) and not wrapped.uri(name):
            raise Fault(f"3862 §4.{'1' if name == 'From' else '2'}: {name}: {wrapped.get(name)}")
    if not wrapped.get("From"):
        raise Fault("3862 §4.1: no From")
    if wrapped.get("DateTime") and not DATE.fullmatch(wrapped.get("DateTime")):
        raise Fault(f"3862 §4.4: DateTime: {wrapped.get('DateTime')}")
    if not wrapped.kind:
        raise Fault("3862 §3: the content has no Content-Type")
    prefixes = {value.split(" ")[0]: value for key, value in wrapped.headers if key == "NS"}
    for key, _ in wrapped.headers:
        prefix, dot, _ = key.rpartition(".")
        if dot and prefix not in prefixes:
            raise Fault(f"3862 §3.4: {key} without an NS for {prefix}")
    wishes = [value for key, value in wrapped.headers if key.endswith("Disposition-Notification")]
    if wishes and not wrapped.get("Message-ID"):
        raise Fault("5438 §6.2: Disposition-Notification without Message-ID")
    if wishes and not wrapped.get("DateTime"):
        raise Fault("5438 §7.1.1.3: a wish for notifications without DateTime")


@dataclass(frozen=True)
class Disposition:
    """What an IMDN says: about which message, `delivery` or `display`, and how it went."""

    message_id: str
    kind: str
    status: str

    @property
    def word(self) -> str:
        """What the event is called in steps."""
        return "displayed" if self.kind == "display" else "receipt" if self.status == "delivered" else "undelivered"


def imdn(disposition: Disposition, recipient: str) -> bytes:
    return (f'<?xml version="1.0" encoding="UTF-8"?>\r\n<imdn xmlns="{IMDN_NS}"><message-id>{disposition.message_id}'
            f"</message-id><datetime>{_now()}</datetime><recipient-uri>{recipient}</recipient-uri>"
            f"<{disposition.kind}-notification><status><{disposition.status}/></status>"
            f"</{disposition.kind}-notification></imdn>").encode()


def read_imdn(data: bytes) -> Disposition:
    """Raises Fault for what RFC 5438 §11.1.1 does not allow."""
    root = _document(data, f"{{{IMDN_NS}}}imdn")
    message_id, date = (root.findtext(f"{{{IMDN_NS}}}{name}") for name in ("message-id", "datetime"))
    if not message_id or not date or not DATE.fullmatch(date):
        raise Fault("5438 §11.1.1: an IMDN needs message-id and datetime")
    for kind in ("delivery", "display", "processing"):
        status = root.find(f"{{{IMDN_NS}}}{kind}-notification/{{{IMDN_NS}}}status")
        if status is not None and len(status) == 1:
            return Disposition(message_id, kind, status[0].tag.partition("}")[2])
    raise Fault("5438 §11.1.1: an IMDN without a notification that has a status")


def composing(state: str, refresh: int = 0) -> bytes:
    more = f"<refresh>{refresh}</refresh>" if refresh else ""
    return (f'<?xml version="1.0" encoding="UTF-8"?>\r\n<isComposing xmlns="{COMPOSING_NS}"><state>{state}</state>'
            f"<contenttype>text/plain</contenttype>{more}</isComposing>").encode()


def read_composing(data: bytes) -> str:
    """`active` or `idle`. Raises Fault for what the schema of RFC 3994 does not allow."""
    root = _document(data, f"{{{COMPOSING_NS}}}isComposing")
    names = [child.tag.partition("}")[2] for child in root]
    order = ("state", "lastactive", "contenttype", "refresh")
    known = [name for name in names if name in order]
    if names[:1] != ["state"] or known != sorted(known, key=order.index):
        raise Fault(f"3994 §6: isComposing with {names}")
    refresh = root.findtext(f"{{{COMPOSING_NS}}}refresh")
    if refresh is not None and (not refresh.isdigit() or int(refresh) < 60):
        raise Fault(f"3994 §3.2: a refresh of {refresh}")
    last = root.findtext(f"{{{COMPOSING_NS}}}lastactive")
    if last is not None and not DATE.fullmatch(last):
        raise Fault(f"3994 §6: lastactive {last!r}")
    return "active" if (root[0].text or "").strip() == "active" else "idle"


def _document(data: bytes, name: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise Fault(f"no XML document: {error}") from error
    if root.tag != name:
        raise Fault(f"a document of {root.tag}, not {name}")
    return root
