"""A user of the stand-in: contacts, what is published, who may see it, and the client that is signed on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from agents.sip_text import SipMessage
from ocs.documents import Publication, State, attribute, find, local, text
from ocs.exchange import Link

BLOCKED = 32000
LEVELS = (BLOCKED, 400, 300, 200, 100)
# LCS 2005's activity numbers, in OCS's
ACTIVITIES = {100: 15500, 150: 15500, 200: 5000, 300: 12500, 400: 3500, 500: 6500, 600: 6500, 700: 15500, 800: 3500}


@dataclass
class Dialog:
    """A subscription of a client to its own server: what its BENOTIFYs need."""

    event: str
    call_id: str
    ours: str
    theirs: str
    cseq: int = 0

    def notice(self, target: str, kind: str, body: bytes) -> SipMessage:
        self.cseq += 1
        message = SipMessage(method="BENOTIFY", uri=target)
        message.add("Max-Forwards", "70").add("From", self.ours).add("To", self.theirs).add("Call-ID", self.call_id)
        message.add("CSeq", f"{self.cseq} BENOTIFY").add("Event", self.event)
        message.add("subscription-state", "active;expires=28800").add("Content-Type", kind)
        message.body = body
        return message


@dataclass
class Device:
    """The client that is signed on, at the connection that it registered over."""

    link: Link
    contact: str
    instance: str
    gruu: str
    epid: str
    dialogs: dict[str, Dialog] = field(default_factory=dict)


@dataclass
class Contact:
    name: str
    groups: str


@dataclass
class Account:
    """One user. `mode` is the age of the server that the client finds: 2007 or 2005."""

    user: str
    name: str
    password: str
    mode: int
    contacts: dict[str, Contact] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=lambda: {"1": "~"})
    delta: int = 1
    members: dict[tuple[str, str], int] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    rights: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    device: Device | None = None
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    presented: asyncio.Event = field(default_factory=asyncio.Event)
    _published: dict[tuple[str, str, str], Element] = field(default_factory=dict)
    _presence: State = field(default_factory=State)

    # Contacts.

    def contact_list(self) -> bytes:
        groups = "".join(f'<group id="{number}" name={quoteattr(name)} externalURI=""/>'
                         for number, name in self.groups.items())
        contacts = "".join(f"<contact uri={quoteattr(uri)} {_details(contact)}/>"
                           for uri, contact in self.contacts.items())
        return f'<contactList deltaNum="{self.delta}">{groups}{contacts}</contactList>'.encode()

    def set_contact(self, command: Element) -> bytes:
        uri = text(command, "URI").removeprefix("sip:")
        word = "modifiedContact" if uri in self.contacts else "addedContact"
        contact = Contact(text(command, "displayName"), text(command, "groups") or "1")
        self.contacts[uri] = contact
        return self._delta(f"<{word} uri={quoteattr('sip:' + uri)} {_details(contact)}/>")

    def delete_contact(self, uri: str) -> bytes:
        self.contacts.pop(uri, None)
        return self._delta(f"<deletedContact uri={quoteattr('sip:' + uri)}/>")

    def add_group(self, name: str) -> bytes:
        number = str(max(map(int, self.groups)) + 1)
        self.groups[number] = name
        return self._delta(f'<addedGroup id="{number}" name={quoteattr(name)} externalURI=""/>')

    def _delta(self, what: str) -> bytes:
        before = self.delta
        self.delta += 1
        return f'<contactDelta deltaNum="{self.delta}" prevDeltaNum="{before}">{what}</contactDelta>'.encode()

    # Presence.

    def publish(self, publication: Publication) -> None:
        key = (publication.category, publication.instance, publication.container)
        if publication.content is None:
            self._published.pop(key, None)
        else:
            self._published[key] = publication.content

    def set_presence(self, command: Element) -> None:
        """LCS 2005's way to publish."""
        shown = find(command, "state")
        aggregate = find(command, "availability")
        activity = find(command, "activity")
        number = ACTIVITIES.get(int(attribute(activity, "aggregate")) if activity is not None else 400, 3500)
        if shown is not None:
            number = int(attribute(shown, "avail"))
        if aggregate is None or attribute(aggregate, "aggregate") == "0":
            number = 18500
        self._presence = State(number, note=text(find(command, "userInfo"), "note"))

    def sign_off(self) -> None:
        self.device = None
        self.presented.clear()
        self._published.clear()
        self._presence = State()

    def state_for(self, watcher: str) -> State:
        """What this watcher may see."""
        if self.device is None or not self.allows(watcher):
            return State()
        if self.mode == 2005:
            return self._presence
        return self._aggregate(str(self.level(watcher)))

    def _aggregate(self, container: str) -> State:
        """The user's own word before the machine's; notes only from the watcher's container."""
        numbers: dict[str, State] = {}
        for (category, _, where), content in self._published.items():
            if category == "state" and where == "2":
                activity = find(content, "activity")
                numbers[attribute(content, "type")] = State(
                    int(text(content, "availability") or 0),
                    attribute(activity, "token") if activity is not None else "")
        shown = numbers.get("userState") or numbers.get("machineState") or State()
        note = next((text(content, "body") for (category, _, where), content in self._published.items()
                     if category == "note" and where == container), "")
        return State(shown.availability, shown.activity, note)

    # Who may see what.

    def set_members(self, body: Element) -> None:
        for container in body.iter():
            if local(container) != "container":
                continue
            number = int(attribute(container, "id"))
            self.versions[number] = self.versions.get(number, 0) + 1
            for member in container:
                who = (attribute(member, "type"), attribute(member, "value").removeprefix("sip:"))
                if attribute(member, "action") == "add":
                    self.members[who] = number
                elif self.members.get(who) == number:
                    del self.members[who]

    def containers(self) -> str:
        """All access levels with their members, as roaming data has them."""
        return "".join(f'<container id="{number}" version="{version}">{self._members_of(number)}</container>'
                       for number, version in self.versions.items())

    def _members_of(self, number: int) -> str:
        def value(text_: str) -> str:
            return f" value={quoteattr(text_)}" if text_ else ""

        return "".join(f'<member type="{kind}"{value(who)}/>' for (kind, who), where in self.members.items()
                       if where == number)

    def level(self, watcher: str) -> int:
        """The access level (container) of somebody at another domain."""
        domain = watcher.partition("@")[2]
        for who in (("user", watcher), ("domain", domain), ("federated", "")):
            if who in self.members:
                return self.members[who]
        return 100

    def allows(self, watcher: str) -> bool:
        if self.mode == 2005:
            return self.rights.get(watcher) == "AA"
        return self.level(watcher) != BLOCKED

    def asks_about(self, watcher: str) -> bool:
        """Is the user still to be told (2007) or asked (2005) about this watcher?"""
        if self.mode == 2005:
            return watcher not in self.rights
        return watcher not in self.acknowledged and watcher not in self.contacts


def _details(contact: Contact) -> str:
    return f'name={quoteattr(contact.name)} groups={quoteattr(contact.groups)} subscribed="true" externalURI=""'
