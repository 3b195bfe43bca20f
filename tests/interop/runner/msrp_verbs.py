"""What steps can say of SIP users that talk in MSRP sessions (msrp/)."""

from __future__ import annotations

from msrp.agent import MsrpUser
from msrp.talk import Manner, Talk
from runner.case import Step
from runner.stage import Stage
from runner.words import Act, BadStep, address_of

ODD = ("star", "reversed", "abort", "charset")


def _user(stage: Stage, step: Step) -> MsrpUser:
    user = stage.sip[step.actor]
    if not isinstance(user, MsrpUser):
        raise BadStep(f"{step.actor} does not talk in MSRP sessions")
    return user


def _talk(stage: Stage, step: Step, words: list[str]) -> Talk:
    """The session that there is. Raises LookupError."""
    return _user(stage, step).meetings[address_of(stage, words[0])].talk


def manner(words: list[str]) -> Manner:
    """`chunks=7,3 reports failure=no type=text/html star reversed abort`. Raises BadStep."""
    options = dict(word.partition("=")[::2] for word in words)
    known = {"chunks", "reports", "failure", "type", *ODD}
    if set(options) - known:
        raise BadStep(f"no manners: {' '.join(set(options) - known)}")
    sizes = tuple(int(size) for size in options.get("chunks", "").split(",") if size)
    return Manner(sizes, "reports" in options, options.get("failure", ""), options.get("type", "text/plain"),
                  tuple(word for word in ODD if word in options))


# What they do.

async def send(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer = _user(stage, step), address_of(stage, words[0])
    if user.settings.says == "pages":
        user.page(peer, *words[1:])
    else:
        user.message_in(peer, words[1], manner(words[2:]))


async def interleaves(stage: Stage, step: Step, words: list[str]) -> None:
    """Two texts, a chunk of the one and a chunk of the other in turn."""
    talk = _talk(stage, step, words)
    both = [talk.chunks(text, manner(words[3:])) for text in words[1:3]]
    for turn in range(max(map(len, both))):
        for frames, text in zip(both, words[1:3], strict=True):
            if turn < len(frames):
                talk.forge(frames[turn], text)


def calls(method: str) -> Act:
    """A thing that the user does to the peer."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        getattr(_user(stage, step), method)(address_of(stage, words[0]), *words[1:])
    return act


async def reads(stage: Stage, step: Step, words: list[str]) -> None:
    user, peer = _user(stage, step), address_of(stage, words[0])
    user.page_read(peer)
    if peer in user.meetings:
        user.meetings[peer].talk.read_all()


def types(state: str) -> Act:
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        user, peer = _user(stage, step), address_of(stage, words[-1])
        if user.settings.says == "pages":
            user.page_typing(peer, state)
        else:
            _talk(stage, step, words[-1:]).typing(state)
    return act


async def hangs_up(stage: Stage, step: Step, words: list[str]) -> None:
    await _user(stage, step).leave(address_of(stage, words[0]))


async def answers(stage: Stage, step: Step, words: list[str]) -> None:
    """PEER CODE: to every SEND from now on; `nothing` for no answer, 200 for the usual."""
    code = 1 if words[1] == "nothing" else int(words[1])
    _talk(stage, step, words).busy = 0 if code == 200 else code


# What they see.

def sees(kind: str, *names: str) -> Act:
    """`PEER WORD…`: an event of that kind whose fields of these names are the words, as far as there are words."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        fields = dict(zip(names, words[1:], strict=False))
        await _user(stage, step).inbox.take(kind, address_of(stage, words[0]), step.within, **fields)
    return act


MSRP_VERBS: dict[str, Act] = {
    "send": send, "pages": calls("page"), "interleaves": interleaves, "reads": reads, "types": types("active"),
    "stops": types("idle"), "answers": answers, "invite": calls("invite"), "renews": calls("renew"),
    "hangs-up": hangs_up, "breaks": calls("break_rules"),
    "sees session": sees("session", "side"), "sees invited": sees("invited"),
    "sees declined": sees("declined", "status"), "sees renewed": sees("renewed", "status"),
    "sees bye": sees("bye"), "sees cut": sees("cut"), "sees typing": sees("typing"),
    "sees typing-stopped": sees("typing-stopped"), "sees receipt": sees("receipt", "text"),
    "sees displayed": sees("displayed", "text"), "sees undelivered": sees("undelivered", "text"),
    "sees report": sees("report", "text", "status"), "sees refused": sees("answer", "text", "status"),
    "sees aborted": sees("aborted"),
}
