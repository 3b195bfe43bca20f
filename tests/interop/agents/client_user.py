"""A user of a real client that runs as a process of its own without windows (clients/, lab/pidgin/client.c)."""

from __future__ import annotations

from collections.abc import Callable

from agents.program import Program

LOGIN_LIMIT = 15.0


class ClientUser(Program):
    """What its user sees goes into `inbox`; `final` says what became of a text (SIP), `receipt` and `displayed` that it
    reached the other user and was read.
    """

    async def login(self) -> None:
        """Raises RuntimeError when the server does not let us in."""
        await self.until_signed_on(LOGIN_LIMIT)

    def event(self, word: str, fields: list[str]) -> None:
        # SIMPLE shows a sender's gr parameter as a part of the name, so that each device is another person to it.
        peer = fields[0].removeprefix("sip:").partition(";")[0] if fields else ""
        known: dict[str, Callable[[], None]] = {
            "ready": lambda: self.tell("login", ""),
            "signed-on": self.signed_on.set,
            "signed-off": self.signed_on.clear,
            "message": lambda: self.said(peer, text=fields[1]),
            "typing": lambda: self.typed(peer, True),
            "typing-stopped": lambda: self.typed(peer, False),
            "final": lambda: self.inbox.put("final", peer, status=fields[1], text=fields[2]),
            "receipt": lambda: self.inbox.put("receipt", peer, text=fields[1]),
            "displayed": lambda: self.inbox.put("displayed", peer, text=fields[1]),
        }
        known.get(word, lambda: self.inbox.put(word, self.user, text=" ".join(fields)))()
