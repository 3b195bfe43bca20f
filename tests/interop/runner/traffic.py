"""Many messages both ways while things break, and an account of every one of them.

A message must end in exactly one of: seen by its recipient, or returned to its sender as an error. Seen and returned
is allowed where the error says that the outcome is unknown (a crash between the two). Seen twice is allowed only
under the same stanza id. XMPP between servers has no acknowledgements: what its server had written into a connection
that was then broken, or gave to one that never came up, is lost before the gateway has it; those are told apart by their
time and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from agents.inbox import Missed
from agents.sip_user import SipUser
from agents.xmpp_user import XmppUser
from lab.names import EJABBERD_DOMAINS

LINK_WINDOW = 1.0  # seconds before a break in which a stanza may have been under way between the servers
BREAK_DELAY = 0.25  # and how long after its announcement the break may really happen
# ejabberd 23.01 loses what comes while its process for a connection ends that could not be made, right after it has returned
# what had waited for that.
DYING = 0.1


@dataclass
class Flow:
    """One direction: when each text was sent, and what became of it."""

    label: str
    sent: dict[str, float] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)

    def missing(self) -> list[str]:
        return [text for text in self.sent if text not in self.seen and text not in self.failed]

    def doubled(self) -> dict[str, list[str]]:
        return {text: ids for text, ids in self.seen.items() if len(ids) > 1}


class Traffic:
    """The two flows between one XMPP user and one SIP user."""

    def __init__(self, xmpp: XmppUser, sip: SipUser, count: int, rate: float) -> None:
        self.xmpp = xmpp
        self.sip = sip
        self.count = count
        self.pause = 1 / rate
        self.out = Flow(f"{xmpp.label} to {sip.wire.label}")
        self.back = Flow(f"{sip.wire.label} to {xmpp.label}")
        self.breaks: list[tuple[float, str]] = []
        self.lost_on_link: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._bell = asyncio.Event()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._send_out()), loop.create_task(self._send_back())]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def broke(self, what: str) -> None:
        """A connection is about to break, or a process to die: remember when."""
        self.breaks.append((time.monotonic(), what))

    async def _send_out(self) -> None:
        for number in range(self.count):
            text = f"out {number}"
            self.out.sent[text] = time.monotonic()
            self.out.ids[self.xmpp.say(self.sip.user, text)] = text
            await asyncio.sleep(self.pause)

    async def _send_back(self) -> None:
        for number in range(self.count):
            text = f"back {number}"
            self.back.sent[text] = time.monotonic()
            self.sip.message(self.xmpp.user, text)
            await asyncio.sleep(self.pause)

    async def sent(self, number: int, seconds: float) -> None:
        """Wait until that many were sent each way."""
        limit = time.monotonic() + seconds
        while min(len(self.out.sent), len(self.back.sent)) < number:
            if time.monotonic() > limit:
                raise Missed(f"only {len(self.out.sent)} and {len(self.back.sent)} of {number} sent in {seconds:g} s")
            await asyncio.sleep(self.pause)

    def _collect(self) -> None:
        for event in self.sip.inbox.events:
            if event.kind == "message":
                self.out.seen.setdefault(event.fields["text"], []).append(event.fields["id"])
            elif event.kind == "final" and event.fields["status"] == "200":
                self.back.delivered.add(event.fields["text"])
            elif event.kind == "final":
                self.back.failed[event.fields["text"]] = f"{event.fields['status']} {event.fields['reason']}"
        for event in self.xmpp.inbox.events:
            if event.kind == "message":
                self.back.seen.setdefault(event.fields["text"], []).append(event.fields["id"])
            elif event.kind == "error":
                self.out.failed[self.out.ids[event.fields["id"]]] = event.fields["condition"]
        self.sip.inbox.events = [event for event in self.sip.inbox.events if event.kind not in ("message", "final")]
        self.xmpp.inbox.events = [event for event in self.xmpp.inbox.events if event.kind not in ("message", "error")]

    async def settles(self, seconds: float) -> None:
        """Wait until every message is accounted for, then check the account. Raises Missed."""
        limit = time.monotonic() + seconds
        await asyncio.wait_for(asyncio.gather(*self._tasks), seconds)
        while True:
            self._collect()
            self.lost_on_link = [text for text in self.out.missing() if self._under_way(text)]
            unanswered = [text for text in self.back.sent
                          if text not in self.back.delivered and text not in self.back.failed]
            if len(self.out.missing()) == len(self.lost_on_link) and not self.back.missing() and not unanswered:
                break
            if time.monotonic() > limit:
                break
            await asyncio.sleep(0.2)
        self._judge(unanswered)

    def _under_way(self, text: str) -> bool:
        moment = self.out.sent[text]
        broken = any(-BREAK_DELAY <= at - moment <= LINK_WINDOW for at, _ in self.breaks)
        return broken or any(0 < moment - self.out.sent[other] <= DYING for other in self._bounced())

    def _bounced(self) -> list[str]:
        """What ejabberd returned since it could not connect."""
        if self.xmpp.user.partition("@")[2] not in EJABBERD_DOMAINS:
            return []
        return [text for text, condition in self.out.failed.items() if condition == "remote-server-timeout"]

    def _by_break(self, texts: list[str]) -> dict[str, list[str]]:
        """The texts by the break that they were sent behind, for the reader."""
        grouped: dict[str, list[str]] = {}
        for text in texts:
            earlier = [(moment, name) for moment, name in self.breaks if moment <= self.out.sent[text]]
            grouped.setdefault(f"after {len(earlier)} breaks ({earlier[-1][1] if earlier else ''})", []).append(text)
        return grouped

    def _judge(self, unanswered: list[str]) -> None:
        lost = [text for text in self.out.missing() if not self._under_way(text)]
        faults = [f"{len(texts)} neither seen nor returned, sent {when}: {', '.join(texts[:5])}"
                  for when, texts in self._by_break(lost).items()]
        faults += [f"{text}: no answer at all" for text in unanswered]
        faults += [f"{text}: answered 200, never seen" for text in self.back.delivered - self.back.seen.keys()]
        faults += [f"{text}: seen {len(ids)} times under ids {sorted(set(ids))}" for flow in (self.out, self.back)
                   for text, ids in flow.doubled().items() if len(set(ids)) > 1]
        if faults:
            raise Missed(f"{len(faults)} messages unaccounted for: " + "; ".join(faults[:12]) + f" ({self.summary()})")

    def summary(self) -> str:
        return "; ".join(self._line(flow) for flow in (self.out, self.back)) + (
            f"; lost between the XMPP servers at a break: {len(self.lost_on_link)}" if self.lost_on_link else "")

    @staticmethod
    def _line(flow: Flow) -> str:
        both = sum(text in flow.seen for text in flow.failed)
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(Counter(flow.failed.values()).items()))
        return (f"{flow.label}: {len(flow.sent)} sent, {len(flow.seen)} seen, {len(flow.failed)} returned"
                f"{f' ({causes})' if causes else ''}, {both} both, {len(flow.doubled())} doubled")
