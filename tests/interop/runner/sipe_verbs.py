"""What steps can say of users of pidgin-sipe and of the Edge of the stand-in for OCS."""

from __future__ import annotations

from agents.inbox import Missed
from agents.sipe_user import SipeUser
from runner.case import Step
from runner.office import Office
from runner.stage import Stage
from runner.words import Act, address_of, word_at


def _user(stage: Stage, step: Step) -> SipeUser:
    return stage.sipe[step.actor]


def _office(stage: Stage) -> Office:
    if stage.office is None:
        raise LookupError("this case has no OCS")
    return stage.office


# What they do.

async def send(stage: Stage, step: Step, words: list[str]) -> None:
    _user(stage, step).say(address_of(stage, words[0]), words[1])


async def login(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).login(_user(stage, step))


async def send_styled(stage: Stage, step: Step, words: list[str]) -> None:
    _user(stage, step).say_styled(address_of(stage, words[0]), words[1])


async def sees_refusal(stage: Stage, step: Step, words: list[str]) -> None:
    await _user(stage, step).knock(step.within)


async def logout(stage: Stage, step: Step, words: list[str]) -> None:
    await _user(stage, step).logout(step.within)


async def show(stage: Stage, step: Step, words: list[str]) -> None:
    _user(stage, step).show(words[0], word_at(words, 1))


def contact(verb: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        _user(stage, step).contact(verb, address_of(stage, words[-1]))
    return act


async def dies(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).kill(_user(stage, step))


async def deny(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).deny(_user(stage, step), address_of(stage, words[0]), step.within)


async def gives(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).give(_user(stage, step), address_of(stage, words[0]), words[1], step.within)


# What they see.

def sees(kind: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        fields = {"text": words[1]} if len(words) > 1 else {}
        await _user(stage, step).inbox.take(kind, address_of(stage, words[0]), step.within, **fields)
    return act


async def sees_failure(stage: Stage, step: Step, words: list[str]) -> None:
    """The note that a text was not delivered; it repeats the text."""
    inbox, peer = _user(stage, step).inbox, address_of(stage, words[0])

    def check() -> bool | None:
        for position, event in enumerate(inbox.events):
            text = event.fields.get("text", "")
            if event.kind == "note" and event.peer == peer and "not delivered" in text and words[1] in text:
                inbox.events.pop(position)
                return True
        return None

    await inbox.until(check, step.within, f"a note from {peer} that {words[1]!r} was not delivered")


async def sees_presence(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer, wanted = _user(stage, step), address_of(stage, words[0]), (words[1], word_at(words, 2))

    def check() -> bool | None:
        word, note = user.seen.get(peer, ("unknown", ""))
        return (word in wanted[0].split("|") and (len(words) < 3 or wanted[1] in note)) or None

    try:
        await user.inbox.until(check, step.within, f"presence {wanted} of {peer}")
    except Missed as missed:
        raise Missed(f"{missed}; it is {user.seen.get(peer)}") from None


# The Edge.

async def edge_cut(stage: Stage, step: Step, words: list[str]) -> None:
    _office(stage).edge.cut()


async def edge_stop(stage: Stage, step: Step, words: list[str]) -> None:
    _office(stage).edge.stop()


async def edge_start(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).edge.start()


async def edge_sees_fork_ended(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).edge.inbox.take("fork-ended", address_of(stage, words[0]), step.within)


async def edge_refresh(stage: Stage, step: Step, words: list[str]) -> None:
    _office(stage).home.watching.refresh()


async def edge_sees_negotiated(stage: Stage, step: Step, words: list[str]) -> None:
    await _office(stage).edge.inbox.take("negotiated", words[0], step.within, status=words[1])


async def edge_sees_fault(stage: Stage, step: Step, words: list[str]) -> None:
    edge = _office(stage).edge

    def check() -> bool | None:
        for position, event in enumerate(edge.inbox.events):
            if event.kind == "fault" and words[0] in event.fields["text"]:
                edge.inbox.events.pop(position)
                return True
        return None

    await edge.inbox.until(check, step.within, f"a fault of {words[0]}")


SIPE_VERBS: dict[str, Act] = {
    "send": send, "send-styled": send_styled, "login": login, "logout": logout, "dies": dies, "show": show,
    "subscribe": contact("add"), "unsubscribe": contact("remove"), "approve": contact("approve"),
    "deny": deny, "gives": gives, "close": contact("close"), "types": contact("type"), "stops": contact("pause"),
    "sees message": sees("message"), "sees presence": sees_presence, "sees request": sees("request"),
    "sees typing": sees("typing"), "sees typing-stopped": sees("typing-stopped"), "sees failure": sees_failure,
    "sees log-in-refused": sees_refusal,
}
EDGE_VERBS: dict[str, Act] = {
    "stop": edge_stop, "start": edge_start, "sees fork-ended": edge_sees_fork_ended,
    "cut": edge_cut, "refreshes": edge_refresh, "sees negotiated": edge_sees_negotiated, "sees fault": edge_sees_fault,
}
