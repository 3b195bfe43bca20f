"""What steps can tell XMPP users to do."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from agents.xmpp_user import MARKERS, RECEIPTS, XmppUser, element
from runner.case import Step
from runner.stage import Stage
from runner.words import Act, BadStep, address_of, word_at

OMEMO = "eu.siacs.conversations.axolotl"
WISHES = {"receipt": (RECEIPTS, "request"), "markable": (MARKERS, "markable")}


def _user(stage: Stage, step: Step) -> XmppUser:
    return stage.xmpp[step.actor]


async def send(stage: Stage, step: Step, words: list[str]) -> None:
    """PEER "text" [receipt] [markable]"""
    if set(words[2:]) - set(WISHES):
        raise BadStep(f"no wishes: {' '.join(words[2:])}")
    _say(stage, step, words, *(element(*WISHES[word]) for word in words[2:]))


def _say(stage: Stage, step: Step, words: list[str], *extras: Element) -> None:
    user = _user(stage, step)
    user.last_sent = user.say(address_of(stage, words[0]), word_at(words, 1), *extras)


async def corrects(stage: Stage, step: Step, words: list[str]) -> None:
    """The last message becomes another text (XEP-0308)."""
    _say(stage, step, words, element("urn:xmpp:message-correct:0", "replace", id=_user(stage, step).last_sent))


async def retracts(stage: Stage, step: Step, words: list[str]) -> None:
    """PEER "fallback": the last message is taken back (XEP-0424)."""
    _say(stage, step, words, element("urn:xmpp:message-retract:1", "retract", id=_user(stage, step).last_sent),
         element("urn:xmpp:fallback:0", "fallback", **{"for": "urn:xmpp:message-retract:1"}),
         element("urn:xmpp:hints", "store"))


async def links(stage: Stage, step: Step, words: list[str]) -> None:
    """PEER URL ["text"]: what was uploaded (XEP-0066); without a text the address is the body, as clients do."""
    link = element("jabber:x:oob", "x")
    SubElement(link, "{jabber:x:oob}url").text = words[1]
    _say(stage, step, [words[0], word_at(words, 2) or words[1]], link)


async def encrypts(stage: Stage, step: Step, words: list[str]) -> None:
    """PEER ["fallback"]: a message that only OMEMO opens (XEP-0384)."""
    sealed = element(OMEMO, "encrypted")
    header = SubElement(sealed, f"{{{OMEMO}}}header", sid="27183")
    SubElement(header, f"{{{OMEMO}}}key", rid="31415").text = "QkFTRTY0"
    SubElement(header, f"{{{OMEMO}}}iv").text = "SVZJVklWSVY="
    SubElement(sealed, f"{{{OMEMO}}}payload").text = "c2VhbGVk"
    named = element("urn:xmpp:eme:0", "encryption", namespace=OMEMO, name="OMEMO")
    _say(stage, step, words, sealed, named, element("urn:xmpp:hints", "store"))


async def reads(stage: Stage, step: Step, words: list[str]) -> None:
    _user(stage, step).read(address_of(stage, words[0]))


async def keeps_quiet(stage: Stage, step: Step, words: list[str]) -> None:
    """No receipts from now on."""
    _user(stage, step).receipts = False


async def login(stage: Stage, step: Step, words: list[str]) -> None:
    await _user(stage, step).login()


async def logout(stage: Stage, step: Step, words: list[str]) -> None:
    await _user(stage, step).logout()


async def show(stage: Stage, step: Step, words: list[str]) -> None:
    _user(stage, step).show(words[0], word_at(words, 1))


def state(word: str) -> Act:
    """A chat state without a text (XEP-0085)."""
    async def act(stage: Stage, step: Step, words: list[str]) -> None:
        _user(stage, step).chat_state(address_of(stage, words[-1]), word)
    return act


XMPP_DOINGS: dict[str, Act] = {
    "send": send, "corrects": corrects, "retracts": retracts, "links": links, "encrypts": encrypts, "reads": reads,
    "keeps-quiet": keeps_quiet, "login": login, "logout": logout, "show": show,
    "types": state("composing"), "stops": state("paused"), "closes": state("gone"), "looks-away": state("inactive"),
}
