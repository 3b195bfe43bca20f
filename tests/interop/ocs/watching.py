"""Presence across the border: our users watching partners' users, and theirs watching ours."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.sip_text import SipMessage, address, bare, parameter
from ocs import documents
from ocs.accounts import Account
from ocs.documents import State
from ocs.edge import Edge
from ocs.exchange import Link, respond

if TYPE_CHECKING:
    from ocs.home import Home

ACCEPT_2007 = ("application/msrtc-event-categories+xml, application/xpidf+xml, text/xml+msrtc.pidf, "
               "application/pidf+xml, application/rlmi+xml, multipart/related")
ACCEPT_2005 = ("text/xml+msrtc.pidf, application/xpidf+xml, application/pidf+xml, application/rlmi+xml, "
               "multipart/related")
AGENTS = {2007: "UCCAPI/3.5.6907.9 OC/3.5.6907.34 (Microsoft Office Communicator 2007 R2)",
          2005: "LCC/1.3"}


@dataclass
class Watch:
    """One of our users watches somebody elsewhere."""

    account: Account
    peer: str
    call_id: str
    local: str
    remote: str
    target: str
    contact: str
    cseq: int = 0
    over: bool = False


@dataclass
class Watcher:
    """Somebody elsewhere watches one of our users."""

    account: Account
    peer: str
    call_id: str
    local: str
    remote: str
    target: str
    kind: str
    quiet: bool
    cseq: int = 0
    told: State | None = None


class Watching:
    """Subscriptions in both directions."""

    def __init__(self, home: Home, edge: Edge) -> None:
        self.home = home
        self.edge = edge
        self.refusals: dict[tuple[str, str], int] = {}
        self._watches: dict[tuple[str, str], Watch] = {}
        self._by_call: dict[str, Watch] = {}
        self._watchers: dict[str, Watcher] = {}

    # Our users watch.

    def watch_all(self, account: Account, peers: list[str]) -> None:
        for peer in peers:
            if not self.home.is_ours(peer):
                self.watch(account, peer)

    def watch(self, account: Account, peer: str) -> None:
        """Subscribe as a single SUBSCRIBE (MS-PRES 4.11), or again where there is a subscription."""
        watch = self._watches.get((account.user, peer))
        if watch is None or watch.over:
            if account.device is None:
                return
            tag = f"tag={secrets.token_hex(5)};epid={account.device.epid}"
            watch = Watch(account, peer, secrets.token_hex(16), f'"{account.name}"<sip:{account.user}>;{tag}',
                          f"<sip:{peer}>", f"sip:{peer}", account.device.gruu)
            self._watches[account.user, peer] = watch
            self._by_call[watch.call_id] = watch
        self._ask(watch, self.edge.settings.expires)

    def unwatch(self, account: Account, peer: str) -> None:
        watch = self._watches.pop((account.user, peer), None)
        if watch is not None and not watch.over:
            self._ask(watch, 0)

    def unwatch_all(self, account: Account) -> None:
        for user, peer in list(self._watches):
            if user == account.user:
                self.unwatch(account, peer)

    def refresh(self) -> None:
        """Ask again for everything that our users watch, as when subscriptions are about to run out."""
        for watch in list(self._watches.values()):
            self.watch(watch.account, watch.peer)

    def _ask(self, watch: Watch, expires: int) -> None:
        watch.cseq += 1
        mode = watch.account.mode
        request = SipMessage(method="SUBSCRIBE", uri=watch.target)
        request.add("Max-Forwards", "69").add("From", watch.local).add("To", watch.remote)
        request.add("Call-ID", watch.call_id).add("CSeq", f"{watch.cseq} SUBSCRIBE")
        request.add("Contact", f"<{watch.contact}>").add("User-Agent", AGENTS[mode]).add("Event", "presence")
        request.add("Accept", ACCEPT_2005 if mode == 2005 else ACCEPT_2007)
        for token in ("com.microsoft.autoextend", "ms-benotify", "ms-piggyback-first-notify"):
            request.add("Supported", token)
        request.add("Proxy-Require", "ms-benotify").add("Expires", str(expires))
        self.edge.send(request, watch.peer.partition("@")[2], lambda response: self._answered(watch, response, expires))
        self.edge.remember(watch.call_id, watch.contact, parameter(watch.local, "epid"))

    def _answered(self, watch: Watch, response: SipMessage, expires: int) -> None:
        key = (watch.account.user, watch.peer)
        if response.status < 200:
            return
        if response.status >= 300:
            self.refusals[key] = response.status
            again = response.status == 481 and parameter(watch.remote, "tag") != ""
            watch.over = True
            if again and expires and self._watches.get(key) is watch:
                self.watch(watch.account, watch.peer)
            return
        self.refusals.pop(key, None)
        self._confirm(watch, response.get("To"), response)
        if response.get("ms-piggyback-cseq"):
            missing = [name for name in ("Event", "subscription-state", "Content-Type") if not response.get(name)]
            if missing:
                self.edge.fault(f"a first document in a 200 without {', '.join(missing)}")
            self._hand_on(watch, response)

    @staticmethod
    def _confirm(watch: Watch, remote: str, message: SipMessage) -> None:
        if parameter(watch.remote, "tag"):
            return
        watch.remote = remote
        watch.target = address(message.get("Contact")) or watch.target

    def notified(self, link: Link, request: SipMessage) -> None:
        """NOTIFY or BENOTIFY from a partner."""
        watch = self._by_call.get(request.get("Call-ID"))
        missing = [name for name in ("Event", "Subscription-State", "Contact") if not request.get(name)]
        if watch is None or watch.over:
            self._reply(link, request, 481, "Subscription does not exist")
            return
        if missing and request.method == "NOTIFY":
            self.edge.fault(f"NOTIFY without {', '.join(missing)}")
        self._confirm(watch, request.get("From"), request)
        self._reply(link, request, 200, "OK")
        if request.get("Subscription-State").lower().startswith("terminated"):
            watch.over = True
        self._hand_on(watch, request)

    @staticmethod
    def _reply(link: Link, request: SipMessage, status: int, reason: str) -> None:
        if request.method != "BENOTIFY":
            link.write(respond(request, status, reason))

    def _hand_on(self, watch: Watch, message: SipMessage) -> None:
        """The document goes to the client as it came."""
        if message.body:
            self.home.notice(watch.account, "presence", message.get("Content-Type"), message.body)

    # Others watch our users.

    def has_watcher(self, call_id: str) -> bool:
        return call_id in self._watchers

    def unknown_watchers(self, account: Account) -> list[str]:
        """Who watches the user and is not known to them."""
        return sorted({watcher.peer for watcher in self._watchers.values()
                       if watcher.account is account and account.asks_about(watcher.peer)})

    def subscribed(self, link: Link, request: SipMessage, account: Account | None) -> None:
        """A SUBSCRIBE from a partner: the first (for `account`), a fetch, a refresh or the last of a dialog."""
        call_id = request.get("Call-ID")
        if request.get("Event") != "presence":
            link.write(respond(request, 489, "Bad Event").add("Allow-Events", "presence"))
            return
        response = respond(request, 200, "OK")
        watcher = self._watchers.get(call_id)
        if watcher is None:
            if account is None:
                return
            watcher = self._new_watcher(request, response, account)
        expires = min(int(request.get("Expires", "3600")), self.edge.settings.expires)
        contact = f"sip:{self.edge.pool}:5061;transport=tls"
        response.add("Contact", f"<{contact}>").add("Expires", str(expires))
        self.edge.remember(call_id, contact, parameter(watcher.local, "epid"))
        state = f"active;expires={expires}" if expires else "terminated;reason=timeout"
        if "ms-piggyback-first-notify" in request.all("Supported"):
            self._piggyback(watcher, response, state)
            link.write(response)
        else:
            link.write(response)
            self._notify(watcher, state)
        if not expires:
            self._watchers.pop(call_id, None)
        elif account is not None:
            self._replace(watcher)
            self._watchers[call_id] = watcher
            if account.asks_about(watcher.peer):
                self.home.tell_of_watcher(account, watcher.peer)

    def _new_watcher(self, request: SipMessage, response: SipMessage, account: Account) -> Watcher:
        return Watcher(account, bare(address(request.get("From"))), request.get("Call-ID"), response.get("To"),
                       request.get("From"), address(request.get("Contact")),
                       documents.choose(", ".join(request.all("Accept"))),
                       "ms-benotify" in request.all("Supported"))

    def _replace(self, watcher: Watcher) -> None:
        """A new subscription of the same watcher ends the old one (2139)."""
        for call_id, old in list(self._watchers.items()):
            if (old.peer, old.account) == (watcher.peer, watcher.account):
                del self._watchers[call_id]

    def _piggyback(self, watcher: Watcher, response: SipMessage, state: str) -> None:
        watcher.cseq += 1
        watcher.told = watcher.account.state_for(watcher.peer)
        response.add("Event", "presence").add("subscription-state", state)
        response.add("ms-piggyback-cseq", str(watcher.cseq)).add("Content-Type", watcher.kind)
        response.body = self._document(watcher)

    def _document(self, watcher: Watcher) -> bytes:
        state = watcher.account.state_for(watcher.peer)
        return documents.write(watcher.kind, watcher.account.user, watcher.account.name, state)

    def _notify(self, watcher: Watcher, state: str) -> None:
        watcher.cseq += 1
        watcher.told = watcher.account.state_for(watcher.peer)
        method = "BENOTIFY" if watcher.quiet else "NOTIFY"
        request = SipMessage(method=method, uri=watcher.target)
        request.add("Max-Forwards", "69").add("From", watcher.local).add("To", watcher.remote)
        request.add("Call-ID", watcher.call_id).add("CSeq", f"{watcher.cseq} {method}")
        request.add("Contact", f"<sip:{self.edge.pool}:5061;transport=tls>").add("Event", "presence")
        request.add("subscription-state", state).add("Content-Type", watcher.kind)
        request.body = self._document(watcher)
        self.edge.send(request, watcher.peer.partition("@")[2], lambda response: self._delivered(watcher, response))

    def _delivered(self, watcher: Watcher, response: SipMessage) -> None:
        if response.status == 481 and self._watchers.get(watcher.call_id) is watcher:
            del self._watchers[watcher.call_id]

    def changed(self, account: Account) -> None:
        """The user's state, or who may see it, has changed: tell everybody who now sees something else."""
        for watcher in list(self._watchers.values()):
            if watcher.account is account and account.state_for(watcher.peer) != watcher.told:
                self._notify(watcher, f"active;expires={self.edge.settings.expires}")
