"""Presence documents (RFC 3863, RFC 4480) as a SIP user's phone writes and reads them."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

PIDF = "{urn:ietf:params:xml:ns:pidf}"
RPID = "{urn:ietf:params:xml:ns:pidf:rpid}"
MODEL = "{urn:ietf:params:xml:ns:pidf:data-model}"
OCS = "{urn:ietf:params:xml:ns:pidf:status:rpid-status}"  # activities as OCS writes them, in the tuple's status
SHOWN = {"away": "away", "extended-away": "away", "busy": "busy"}


@dataclass(frozen=True)
class Presence:
    """What a phone shows: `word` is open, closed, away or busy."""

    word: str
    note: str = ""


def write(entity: str, presence: Presence, tuple_id: str = "t1", legacy: bool = False) -> bytes:
    """The document for one device; `legacy` adds the activity in the form that OCS reads."""
    basic = "closed" if presence.word == "closed" else "open"
    activity = f"<r:{presence.word}/>" if presence.word in ("away", "busy") else ""
    person = f'<d:person id="p1"><r:activities>{activity}</r:activities></d:person>' if activity else ""
    old = (f'<o:activities xmlns:o="{OCS[1:-1]}"><o:activity>{presence.word}</o:activity></o:activities>'
           if activity and legacy else "")
    note = f"<note>{escape(presence.note)}</note>" if presence.note else ""
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="{PIDF[1:-1]}" xmlns:r="{RPID[1:-1]}" '
            f'xmlns:d="{MODEL[1:-1]}" entity={quoteattr(entity)}><tuple id="{tuple_id}"><status>'
            f"<basic>{basic}</basic>{old}</status>{note}</tuple>{person}</presence>").encode()


def read(document: bytes) -> Presence:
    """What a phone makes of a document. Raises ParseError or ValueError on what no phone could read."""
    root = ElementTree.fromstring(document)
    if root.tag != f"{PIDF}presence" or not root.get("entity"):
        raise ValueError(f"no PIDF: {root.tag}")
    basics = [(entry.findtext(f"{PIDF}status/{PIDF}basic") or "").strip() for entry in root.iter(f"{PIDF}tuple")]
    note = next((element.text or "" for element in root.iter(f"{PIDF}note")), "")
    if "open" not in basics:
        return Presence("closed", note)
    activities = [child.tag.removeprefix(RPID) for found in root.iter(f"{RPID}activities") for child in found]
    activities += [(element.text or "").strip() for element in root.iter(f"{OCS}activity")]
    return Presence(next((SHOWN[name] for name in activities if name in SHOWN), "open"), note)
