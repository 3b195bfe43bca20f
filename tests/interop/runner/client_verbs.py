"""What steps can say of users of real clients (linphone, PJSIP, baresip, SIMPLE, profanity)."""

from __future__ import annotations

from runner.case import Step
from runner.stage import Stage
from runner.words import Act, address_of, word_at


def does(verb: str) -> Act:
    """`VERB PEER ["text"]`, told to the program."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        peer = address_of(stage, words[-1] if verb in ("type", "pause") else words[0])
        text = word_at(words, 1) if verb == "send" else ""
        stage.clients[step.actor].tell(verb, peer, *([text] if verb == "send" else []))
    return act


def sees(kind: str, **fields: str) -> Act:
    """`PEER ["text"]`: an event of that kind."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        wanted = {**fields, **({"text": words[1]} if len(words) > 1 else {})}
        await stage.clients[step.actor].inbox.take(kind, address_of(stage, words[0]), step.within, **wanted)
    return act


CLIENT_VERBS: dict[str, Act] = {
    "send": does("send"), "types": does("type"), "stops": does("pause"), "reads": does("read"),
    "sees typing": sees("typing"), "sees typing-stopped": sees("typing-stopped"),
    "sees delivered": sees("final", status="200|202"), "sees receipt": sees("receipt"),
    "sees displayed": sees("displayed"),
}
