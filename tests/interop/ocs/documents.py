"""Presence documents as OCS 2007 and LCS 2005 write them, and what their clients publish."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

CATEGORIES = "application/msrtc-event-categories+xml"
MSRTC = "text/xml+msrtc.pidf"
PIDF = "application/pidf+xml"
XPIDF = "application/xpidf+xml"
ORDER = (CATEGORIES, MSRTC, PIDF, XPIDF)  # the first that a watcher takes (MS-PRES 1.3.3)

SCHEMA = "http://schemas.microsoft.com/2006/09/sip"
PUBLISHED = "2026-01-01T00:00:00.000"
OFFLINE = 18500

# availability from … on: (msrtc activity, PIDF activity, xpidf substatus)
ROWS = ((18000, (0, "", "")), (15000, (100, "away", "away")), (12000, (300, "away", "berightback")),
        (6000, (600, "busy", "busy")), (4500, (200, "away", "idle")), (3000, (400, "", "online")),
        (0, (0, "", "")))


@dataclass(frozen=True)
class State:
    """What a user shows: `availability` is OCS's number (3500 available … 18500 offline)."""

    availability: int = OFFLINE
    activity: str = ""
    note: str = ""

    @property
    def online(self) -> bool:
        return 3000 <= self.availability < 18000

    @property
    def row(self) -> tuple[int, str, str]:
        return next(row for floor, row in ROWS if self.availability >= floor)


def choose(accept: str) -> str:
    """The type that a watcher with this Accept header gets."""
    taken = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    return next((kind for kind in ORDER if kind in taken), PIDF)


def write(kind: str, user: str, name: str, state: State) -> bytes:
    """The user's document of this type."""
    writers = {CATEGORIES: _categories, MSRTC: _msrtc, PIDF: _pidf, XPIDF: _xpidf}
    return writers[kind](user, name, state).encode()


def _categories(user: str, name: str, state: State) -> str:
    def category(word: str, instance: int, body: str) -> str:
        return f'<category name="{word}" instance="{instance}" publishTime="{PUBLISHED}">{body}</category>'

    card = (f'<contactCard xmlns="{SCHEMA}/contactcard"><identity><name><displayName>{escape(name)}</displayName>'
            f"</name><email>{escape(user)}</email></identity></contactCard>")
    note = (f'<note xmlns="{SCHEMA}/note"><body type="personal" uri="">{escape(state.note)}</body></note>'
            if state.note else "")
    token = f"<activity token={quoteattr(state.activity)}/>" if state.activity else ""
    shown = (f'<state xmlns="{SCHEMA}/state" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
             f'xsi:type="aggregateState"><availability>{state.availability}</availability>{token}</state>')
    return (f'<categories xmlns="{SCHEMA}/categories" uri={quoteattr("sip:" + user)}>'
            f"{category('contactCard', 0, card)}{category('note', 0, note)}{category('state', 1, shown)}</categories>")


def _msrtc(user: str, name: str, state: State) -> str:
    note = f"<note>{escape(state.note)}</note>" if state.note else ""
    return (f'<presentity uri={quoteattr(user)} xmlns="http://schemas.microsoft.com/2002/09/sip/presence">'
            f'<availability aggregate="{300 if state.online else 0}" description="" epid=""/>'
            f'<activity aggregate="{state.row[0]}" description=""/>'
            f"<displayName displayName={quoteattr(name)}/><userInfo>{note}</userInfo></presentity>")


def _pidf(user: str, name: str, state: State) -> str:
    word = "on-the-phone" if state.activity == "on-the-phone" else state.row[1]
    activities = f"<ep:activities><ep:activity>{word}</ep:activity></ep:activities>" if word else ""
    return ('<?xml version="1.0" encoding="utf-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" '
            'xmlns:ep="urn:ietf:params:xml:ns:pidf:status:rpid-status" xmlns:ci="urn:ietf:params:xml:ns:pidf:cipid" '
            f'entity={quoteattr("sip:" + user)}><tuple id="0"><status><basic>{"open" if state.online else "closed"}'
            f"</basic>{activities}</status></tuple><ci:display-name>{escape(name)}</ci:display-name></presence>")


def _xpidf(user: str, name: str, state: State) -> str:
    word = ("open" if state.row[2] == "online" else "inuse") if state.online else "closed"
    return ('<?xml version="1.0"?><!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd">'
            f'<presence><presentity uri={quoteattr(f"sip:{user};method=SUBSCRIBE")}/><atom id="1000">'
            f'<address uri={quoteattr(f"sip:{user};user=ip")} priority="0.800000"><status status="{word}"/>'
            f'<msnsubstatus substatus="{state.row[2] or "unknown"}"/></address></atom></presence>')


# What clients publish.

def local(element: Element) -> str:
    """The name without its namespace (OCS's clients use several for the same things)."""
    return element.tag.rpartition("}")[2]


def attribute(element: Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def find(root: Element, name: str) -> Element | None:
    """The first descendant of this name."""
    return next((element for element in root.iter() if local(element) == name), None)


def text(root: Element | None, name: str) -> str:
    """The text of the first descendant of this name, "" without one."""
    found = find(root, name) if root is not None else None
    return "".join(found.itertext()).strip() if found is not None else ""


def parse(body: bytes) -> Element:
    """Raises ElementTree.ParseError."""
    return ElementTree.fromstring(body)


@dataclass(frozen=True)
class Publication:
    """One `publication` of msrtc-category-publish: `content` is absent when it is withdrawn."""

    category: str
    instance: str
    container: str
    content: Element | None


def publications(body: bytes) -> list[Publication]:
    found = []
    for element in parse(body).iter():
        if local(element) != "publication":
            continue
        children = list(element)
        gone = attribute(element, "expires") == "0" or not children
        found.append(Publication(attribute(element, "categoryName"), attribute(element, "instance"),
                                 attribute(element, "container"), None if gone else children[0]))
    return found
