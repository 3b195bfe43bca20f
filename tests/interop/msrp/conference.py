"""Conference documents (RFC 4575): who takes part, as a focus tells it and as a participant keeps track of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from msrp.wire import Fault

TYPE = "application/conference-info+xml"
NS = "urn:ietf:params:xml:ns:conference-info"
XCON = "urn:ietf:params:xml:ns:xcon-conference-info"
STATES = {"full", "partial", "deleted"}


@dataclass
class Roster:
    """What a subscriber knows: names of participants by their entity, the subject, and the version of it."""

    names: dict[str, str] = field(default_factory=dict)
    subject: str = ""
    version: int = -1

    def take(self, data: bytes, room: str) -> None:
        """One NOTIFY's document. Raises Fault for what RFC 4575 does not allow."""
        root = _root(data)
        state, version = root.get("state", "full"), root.get("version")
        if root.get("entity", "").partition(":")[2] != room:
            raise Fault(f"4575 §5.2: entity {root.get('entity')!r} in a document about {room}")
        if state not in STATES:
            raise Fault(f"4575 §5.1: state {state!r}")
        if version is not None and not version.isdigit():
            raise Fault(f"4575 §5.2: version {version!r}")
        if state == "partial":
            if self.version < 0:
                raise Fault("4575 §3.7: the first document is not full")
            if version is None or int(version) != self.version + 1:
                raise Fault(f"4575 §4: version {version} after {self.version}")
        elif version is not None and int(version) <= self.version:
            raise Fault(f"4575 §4: version {version} after {self.version}")
        self.version = int(version or self.version + 1)
        self._users(root, state)
        described = root.find(f"{{{NS}}}conference-description/{{{NS}}}subject")
        if described is not None:
            self.subject = described.text or ""

    def _users(self, root: ElementTree.Element, state: str) -> None:
        users = root.find(f"{{{NS}}}users")
        if state == "full" or (users is not None and users.get("state", "full") == "full"):
            self.names.clear()
        for user in users if users is not None else ():
            entity = user.get("entity")
            if user.tag != f"{{{NS}}}user" or not entity:
                raise Fault(f"4575 §5.6: {user.tag} with entity {entity!r} among the users")
            if user.get("state") == "deleted":
                self.names.pop(entity, None)
            elif user.get("state", "full") not in STATES:
                raise Fault(f"4575 §5.6: state {user.get('state')!r} of a user")
            else:
                self.names[entity] = _name(user, entity)


def _root(data: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise Fault(f"4575 §5: no XML document: {error}") from error
    if root.tag != f"{{{NS}}}conference-info":
        raise Fault(f"4575 §5: a document of {root.tag}")
    return root


def _name(user: ElementTree.Element, entity: str) -> str:
    """The nickname, the display text, or what the URI says."""
    for child in user:
        if child.tag.rpartition("}")[2] == "nickname" and child.text:
            return child.text
    shown = user.get(f"{{{XCON}}}nickname") or user.findtext(f"{{{NS}}}display-text")
    return shown or nick_of(entity)


def nick_of(uri: str) -> str:
    """What a room's URI calls an occupant: its gr parameter, or else its user."""
    found = re.search(r";gr=([^;?>]+)", uri) or re.match(r"sips?:([^@;]+)", uri)
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), found[1]) if found else uri


def write(room: str, version: int, names: dict[str, str], subject: str = "") -> bytes:
    """A full document."""
    users = "".join(
        f'<user entity={quoteattr(entity)} state="full"><display-text>{escape(name)}</display-text>'
        f'<endpoint entity={quoteattr(entity)}><status>connected</status><joining-method>dialed-in</joining-method>'
        f'<media id="1"><type>message</type></media></endpoint></user>' for entity, name in names.items())
    about = f"<subject>{escape(subject)}</subject>" if subject else ""
    return (f'<?xml version="1.0" encoding="UTF-8"?><conference-info xmlns="{NS}" entity="sip:{room}" state="full" '
            f'version="{version}"><conference-description>{about}</conference-description>'
            f"<conference-state><user-count>{len(names)}</user-count></conference-state>"
            f'<users state="full">{users}</users></conference-info>').encode()
