"""What steps can say. One function a verb; the tables at the end are the vocabulary."""

from __future__ import annotations

from agents.client_user import ClientUser
from agents.inbox import Missed
from agents.pidf import Presence
from agents.session_user import SessionUser
from agents.sip_user import SipUser
from agents.sipe_user import SipeUser
from agents.xmpp_user import XmppUser
from msrp.rooms import Focus, RoomUser
from runner.case import Step
from runner.client_verbs import CLIENT_VERBS
from runner.msrp_verbs import MSRP_VERBS
from runner.room_verbs import FOCUS_VERBS, GUEST_VERBS, XMPP_ROOM_VERBS
from runner.sipe_verbs import EDGE_VERBS, SIPE_VERBS
from runner.stage import Stage
from runner.traffic import Traffic
from runner.words import Act, BadStep, address_of, word_at
from runner.xmpp_verbs import XMPP_DOINGS


def _xmpp(stage: Stage, step: Step) -> XmppUser:
    return stage.xmpp[step.actor]


def _sip(stage: Stage, step: Step) -> SipUser:
    return stage.sip[step.actor]


def _anybody(stage: Stage, step: Step) -> XmppUser | SipUser | SipeUser | ClientUser:
    return stage.users[step.actor]


def xmpp_ask(kind: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        _xmpp(stage, step).ask(kind, address_of(stage, words[0]))
    return act


# XMPP users: what they see.

async def sees_message(stage: Stage, step: Step, words: list[str]) -> None:
    user = _anybody(stage, step)
    wishes = {"wishes": words[2]} if len(words) > 2 else {}
    await user.inbox.take("message", address_of(stage, words[0]), step.within, text=words[1], **wishes)


async def xmpp_sees_error(stage: Stage, step: Step, words: list[str]) -> None:
    """The error must answer the last message sent, by its id, from the one it was sent to."""
    user = _xmpp(stage, step)
    fields = {"condition": words[1]} if len(words) > 1 else {}
    await user.inbox.take("error", address_of(stage, words[0]), step.within, id=user.last_sent, **fields)


def xmpp_sees(kind: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        await _xmpp(stage, step).inbox.take(kind, address_of(stage, words[0]), step.within)
    return act


async def xmpp_sees_tidings(stage: Stage, step: Step, words: list[str]) -> None:
    """A receipt or a marker, by the text that it is about."""
    kind = step.words[1]
    await _xmpp(stage, step).inbox.take(kind, address_of(stage, words[0]), step.within, text=words[1])


async def xmpp_sees_presence(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer, wanted = _xmpp(stage, step), address_of(stage, words[0]), (words[1], word_at(words, 2))

    def check() -> bool | None:
        word, note = user.state_of(peer)
        return (word == wanted[0] and (len(words) < 3 or note == wanted[1])) or None

    try:
        await user.inbox.until(check, step.within, f"presence {wanted} of {peer}")
    except Missed as missed:
        raise Missed(f"{missed}; it is {user.state_of(peer)}") from None


async def xmpp_sees_roster(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer = _xmpp(stage, step), address_of(stage, words[0])
    try:
        await user.inbox.until(lambda: user.subscriptions.get(peer, "none") == words[1] or None, step.within,
                               f"roster state {words[1]} of {peer}")
    except Missed as missed:
        raise Missed(f"{missed}; it is {user.subscriptions.get(peer, 'none')}") from None


# SIP users: what they do.

async def sip_send(stage: Stage, step: Step, words: list[str]) -> None:
    _sip(stage, step).message(address_of(stage, words[0]), words[1])


async def sip_register(stage: Stage, step: Step, words: list[str]) -> None:
    await _sip(stage, step).register()


async def sip_unregister(stage: Stage, step: Step, words: list[str]) -> None:
    await _sip(stage, step).register(expires=0)


async def sip_publish(stage: Stage, step: Step, words: list[str]) -> None:
    await _sip(stage, step).publish(Presence(words[0], word_at(words, 1)))


async def sip_subscribe(stage: Stage, step: Step, words: list[str]) -> None:
    _sip(stage, step).subscribe(address_of(stage, words[0]))


async def sip_poll(stage: Stage, step: Step, words: list[str]) -> None:
    _sip(stage, step).subscribe(address_of(stage, words[0]), expires=0)


async def sip_unsubscribe(stage: Stage, step: Step, words: list[str]) -> None:
    _sip(stage, step).unsubscribe(address_of(stage, words[0]))


async def sip_approve(stage: Stage, step: Step, words: list[str]) -> None:
    _sip(stage, step).approve(address_of(stage, words[0]))


async def sip_refuse(stage: Stage, step: Step, words: list[str]) -> None:
    _sip(stage, step).refuse(address_of(stage, words[0]))


# SIP users: what they see.

def sip_sees_final(statuses: str | None) -> Act:
    """The outcome of the text sent: a status, or alternatives with `|`."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        wanted = statuses or words[2]
        await _sip(stage, step).inbox.take("final", address_of(stage, words[0]), step.within, text=words[1],
                                           status=wanted)
    return act


async def sip_sees_answer(stage: Stage, step: Step, words: list[str]) -> None:
    """The response to a SUBSCRIBE."""
    await _sip(stage, step).inbox.take("subscribe-final", address_of(stage, words[0]), step.within, status=words[1])


async def sip_sees_subscription(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer = _sip(stage, step), address_of(stage, words[0])
    try:
        await user.inbox.until(lambda: user.subscriptions.get(peer) in words[1].split("|") or None, step.within,
                               f"subscription to {peer} {words[1]}")
    except Missed as missed:
        raise Missed(f"{missed}; it is {user.subscriptions.get(peer)}") from None


async def sip_sees_presence(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer, wanted = _sip(stage, step), address_of(stage, words[0]), Presence(words[1], word_at(words, 2))

    def check() -> bool | None:
        seen = user.seen.get(peer)
        return (seen is not None and seen.word == wanted.word and (len(words) < 3 or seen == wanted)) or None

    try:
        await user.inbox.until(check, step.within, f"{wanted} of {peer}")
    except Missed as missed:
        raise Missed(f"{missed}; it is {user.seen.get(peer)}") from None


async def sip_sees_no_presence(stage: Stage, step: Step, words: list[str]) -> None:
    """Nothing of the contact's state has reached the user."""
    seen = _sip(stage, step).seen.get(address_of(stage, words[0]))
    if seen is not None and seen.word != "closed":
        raise Missed(f"{step.actor} sees {seen}, but should know nothing")


def sip_sees(kind: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        await _sip(stage, step).inbox.take(kind, address_of(stage, words[0]), step.within)
    return act


async def forgets(stage: Stage, step: Step, words: list[str]) -> None:
    """Drop unread events of a kind: the protocol lets them come or not."""
    inbox = _anybody(stage, step).inbox
    inbox.events = [event for event in inbox.events if event.kind != words[0]]


# SIP users that talk in sessions.

def _session(stage: Stage, step: Step) -> SessionUser:
    user = stage.sip[step.actor]
    if not isinstance(user, SessionUser):
        raise BadStep(f"{step.actor} does not talk in sessions")
    return user


def session_types(word: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        _session(stage, step).typing(address_of(stage, words[-1]), word)
    return act


async def session_hang_up(stage: Stage, step: Step, words: list[str]) -> None:
    _session(stage, step).hang_up(address_of(stage, words[0]))


async def session_break_route(stage: Stage, step: Step, words: list[str]) -> None:
    _session(stage, step).break_route(address_of(stage, words[0]))


# The gateway and the peers.

def gateway(*actions: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        await stage.disturb_gateway(*actions)
    return act


async def gateway_says(stage: Stage, step: Step, words: list[str]) -> None:
    """WHAT PARTNER: in the gateway's log."""
    await stage.says(words[0], words[1], step.within)


def peer(action: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        await getattr(stage, action)(step.actor)
    return act


async def peer_cut(stage: Stage, step: Step, words: list[str]) -> None:
    await stage.cut(step.actor, int(words[0]))


def ledger_tells(direction: str) -> Act:
    """XMPP-USER SIP-USER "OUTCOME OUTCOME …": the whole list, the oldest first."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        await stage.ledger(direction, address_of(stage, words[0]), address_of(stage, words[1]), words[2].split(),
                           step.within)
    return act


# Traffic.

async def traffic_start(stage: Stage, step: Step, words: list[str]) -> None:
    """start XMPP-USER SIP-USER COUNT per-second RATE"""
    stage.traffic = Traffic(stage.xmpp[words[0]], stage.sip[words[1]], int(words[2]), float(words[4]))
    stage.traffic.start()


def _traffic(stage: Stage) -> Traffic:
    if stage.traffic is None:
        raise BadStep("no traffic was started")
    return stage.traffic


async def traffic_sent(stage: Stage, step: Step, words: list[str]) -> None:
    await _traffic(stage).sent(int(words[0]), step.within)


async def traffic_settles(stage: Stage, step: Step, words: list[str]) -> None:
    traffic = _traffic(stage)
    await traffic.settles(step.within)
    stage.remarks.append(traffic.summary())


XMPP_VERBS: dict[str, Act] = {
    **XMPP_DOINGS, "forgets": forgets,
    "subscribe": xmpp_ask("subscribe"), "unsubscribe": xmpp_ask("unsubscribe"),
    "sees typing": xmpp_sees("typing"), "sees typing-stopped": xmpp_sees("typing-stopped"),
    "approve": xmpp_ask("subscribed"), "deny": xmpp_ask("unsubscribed"), "withdraw": xmpp_ask("unsubscribed"),
    "sees receipt": xmpp_sees_tidings, "sees displayed": xmpp_sees_tidings,
    "sees message": sees_message, "sees error": xmpp_sees_error, "sees presence": xmpp_sees_presence,
    "sees roster": xmpp_sees_roster, "sees request": xmpp_sees("subscribe"),
    "sees approval": xmpp_sees("subscribed"), "sees refusal": xmpp_sees("unsubscribed"),
    "sees departure": xmpp_sees("unsubscribe"), "sees presence-error": xmpp_sees("presence-error"),
}
SIP_VERBS: dict[str, Act] = {
    "send": sip_send, "register": sip_register, "unregister": sip_unregister, "publish": sip_publish,
    "subscribe": sip_subscribe, "unsubscribe": sip_unsubscribe, "poll": sip_poll, "forgets": forgets,
    "approve": sip_approve, "deny": sip_refuse, "withdraw": sip_refuse,
    "sees message": sees_message, "sees delivered": sip_sees_final("200"), "sees failed": sip_sees_final(None),
    "sees answer": sip_sees_answer, "sees subscription": sip_sees_subscription,
    "sees presence": sip_sees_presence, "sees nothing-of": sip_sees_no_presence,
    "sees watcher": sip_sees("watcher"), "sees watcher-gone": sip_sees("watcher-gone"),
}
SESSION_VERBS: dict[str, Act] = {
    "types": session_types("type"), "stops": session_types("idle"), "hangs-up": session_hang_up,
    "breaks-route": session_break_route,
    "sees typing": sip_sees("typing"), "sees typing-stopped": sip_sees("typing-stopped"), "sees bye": sip_sees("bye"),
}
GATEWAY_VERBS: dict[str, Act] = {
    "stop": gateway("stop"), "start": gateway("resume"), "kill": gateway("kill"),
    "restart": gateway("stop", "resume"), "crash": gateway("kill", "resume"), "says": gateway_says,
    "freezes": gateway("freeze"), "thaws": gateway("thaw"),
    "fills-disk": gateway("fill_disk"), "frees-disk": gateway("free_disk"),
}
PEER_VERBS: dict[str, Act] = {
    "stop": peer("stop_peer"), "start": peer("start_peer"), "unplug": peer("unplug"), "plug": peer("plug"),
    "cut": peer_cut,
}
SIP_KINDS: tuple[tuple[type[SipUser], dict[str, Act]], ...] = (
    (SessionUser, SESSION_VERBS), (Focus, MSRP_VERBS | FOCUS_VERBS), (RoomUser, MSRP_VERBS | GUEST_VERBS))
LEDGER_VERBS: dict[str, Act] = {"to-sip": ledger_tells("to-sip"), "to-xmpp": ledger_tells("to-xmpp")}
TRAFFIC_VERBS: dict[str, Act] = {"start": traffic_start, "sent": traffic_sent, "settles": traffic_settles}


def vocabulary(stage: Stage, actor: str) -> dict[str, Act]:
    if actor in stage.xmpp:
        return XMPP_VERBS | XMPP_ROOM_VERBS
    if actor in stage.sip:
        user = stage.sip[actor]
        more = next((verbs for kind, verbs in SIP_KINDS if isinstance(user, kind)), {})
        return SIP_VERBS | more
    if actor in stage.clients:
        return CLIENT_VERBS | {"forgets": forgets, "sees message": sees_message}
    if actor in stage.sipe:
        return SIPE_VERBS
    if actor in stage.world.services:
        return PEER_VERBS
    return {"gateway": GATEWAY_VERBS, "traffic": TRAFFIC_VERBS, "ledger": LEDGER_VERBS,
            "edge": EDGE_VERBS}.get(actor, {})


async def perform(stage: Stage, step: Step) -> None:
    """Do one step. Raises Missed when it does not come true, BadStep when it makes no sense."""
    verbs = vocabulary(stage, step.actor)
    length = 2 if step.words[0] == "sees" else 1
    act = verbs.get(" ".join(step.words[:length]))
    if act is None:
        raise BadStep(f"no such step: {step.line}")
    try:
        await act(stage, step, step.words[length:])
    except LookupError as error:
        raise BadStep(f"{step.line}: {error!r}") from error
