"""What steps can say of group chat: SIP users in rooms, a focus with its room, XMPP users in rooms."""

from __future__ import annotations

from agents.inbox import Missed
from msrp.conference import Roster
from msrp.rooms import Focus, RoomUser
from runner.case import Step
from runner.stage import Stage
from runner.words import Act, BadStep, address_of, word_at


def guest(stage: Stage, step: Step) -> RoomUser:
    user = stage.sip[step.actor]
    if not isinstance(user, RoomUser):
        raise BadStep(f"{step.actor} joins no rooms")
    return user


def focus(stage: Stage, step: Step) -> Focus:
    user = stage.sip[step.actor]
    if not isinstance(user, Focus):
        raise BadStep(f"{step.actor} has no room")
    return user


def calls(method: str, with_peer: bool = True) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        first = [address_of(stage, words[0])] if with_peer else words[:1]
        getattr(stage.sip[step.actor], method)(*first, *words[1:])
    return act


def sees(kind: str, *names: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        fields = dict(zip(names, words[1:], strict=False))
        await stage.users[step.actor].inbox.take(kind, address_of(stage, words[0]), step.within, **fields)
    return act


async def sees_roster(stage: Stage, step: Step, words: list[str]) -> None:
    """ROOM "a,b": these and nobody else take part."""
    user, room, wanted = guest(stage, step), address_of(stage, words[0]), sorted(words[1].split(","))

    def names() -> list[str]:
        return sorted(user.rosters.get(room, Roster()).names.values())

    try:
        await user.inbox.until(lambda: names() == wanted or None, step.within, f"{wanted} in {room}")
    except Missed as missed:
        raise Missed(f"{missed}; there are {names()}") from None


async def sees_subject(stage: Stage, step: Step, words: list[str]) -> None:
    user, room = guest(stage, step), address_of(stage, words[0])
    await user.inbox.until(lambda: user.rosters.get(room, Roster()).subject == words[1] or None, step.within,
                           f"subject {words[1]!r}")


async def xmpp_joins(stage: Stage, step: Step, words: list[str]) -> None:
    stage.xmpp[step.actor].join(address_of(stage, words[0]), words[1])


async def xmpp_leaves(stage: Stage, step: Step, words: list[str]) -> None:
    stage.xmpp[step.actor].leave_room(address_of(stage, words[0]))


async def xmpp_says(stage: Stage, step: Step, words: list[str]) -> None:
    stage.xmpp[step.actor].say_in_room(address_of(stage, words[0]), words[1])


async def xmpp_sets_subject(stage: Stage, step: Step, words: list[str]) -> None:
    stage.xmpp[step.actor].name_subject(address_of(stage, words[0]), words[1])


async def xmpp_says_privately(stage: Stage, step: Step, words: list[str]) -> None:
    """ROOM NICK "text\""""
    user = stage.xmpp[step.actor]
    user.last_sent = user.say(f"{address_of(stage, words[0])}/{words[1]}", word_at(words, 2))


async def xmpp_sees_occupants(stage: Stage, step: Step, words: list[str]) -> None:
    """ROOM "a,b": these and nobody else are in the room."""
    user, room, wanted = stage.xmpp[step.actor], address_of(stage, words[0]), sorted(words[1].split(","))

    def names() -> list[str]:
        return sorted(user.resources.get(room, {}))

    try:
        await user.inbox.until(lambda: names() == wanted or None, step.within, f"{wanted} in {room}")
    except Missed as missed:
        raise Missed(f"{missed}; there are {names()}") from None


GUEST_VERBS: dict[str, Act] = {
    "joins": calls("join"), "watches": calls("watch"), "nick": calls("nick"), "says-privately": calls("say_privately"),
    "sees nickname": sees("nickname", "text", "status"), "sees room-text": sees("room-text", "nick", "text"),
    "sees private": sees("private", "nick", "text"), "sees participants": sees_roster, "sees subject": sees_subject,
}
FOCUS_VERBS: dict[str, Act] = {
    "admits": calls("admit", with_peer=False), "loses": calls("lose", with_peer=False),
    "speaks-for": calls("speak", with_peer=False), "names-subject": calls("name_subject", with_peer=False),
    "sees nickname": sees("nickname", "nick"), "sees nickname-refused": sees("nickname-refused", "nick"),
    "sees room-text": sees("room-text", "text"), "sees private": sees("private", "nick", "text"),
}
XMPP_ROOM_VERBS: dict[str, Act] = {
    "joins": xmpp_joins, "leaves": xmpp_leaves, "says": xmpp_says, "names-subject": xmpp_sets_subject,
    "says-privately": xmpp_says_privately, "sees room-text": sees("room-text", "nick", "text"),
    "sees private": sees("private", "nick", "text"), "sees subject": sees("subject", "text"),
    "sees occupants": xmpp_sees_occupants,
}
