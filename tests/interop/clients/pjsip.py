"""PJSIP from PyPI without sound: pjsip.py USER REGISTRAR HOST PORT FOLDER (see lines.py).

It registers over UDP, writes and reads page-mode messages and typing (isComposing), and says how each text fared
(`final PEER STATUS TEXT`).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import pjsua2 as pj  # noqa: E402
from lines import Commands, bare, tell  # noqa: E402

POLL = 0.01


class Account(pj.Account):
    """One account; PJSIP calls these from `libHandleEvents`."""

    def __init__(self) -> None:
        super().__init__()
        self._composing: set[str] = set()

    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        if prm.code == 200 and prm.expiration:
            tell("signed-on")
        elif prm.code >= 300:
            tell("disconnected", f"{prm.code} {prm.reason}")

    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        peer = bare(prm.fromUri)
        self._composing.discard(peer)
        kind = prm.contentType.partition(";")[0].strip()
        tell("message", peer, prm.msgBody if kind == "text/plain" else f"({kind})")

    def onInstantMessageStatus(self, prm: pj.OnInstantMessageStatusParam) -> None:
        tell("final", bare(prm.toUri), str(prm.code), prm.msgBody)

    def onTypingIndication(self, prm: pj.OnTypingIndicationParam) -> None:
        peer, typing = bare(prm.fromUri), bool(prm.isTyping)
        if typing != (peer in self._composing):
            tell("typing" if typing else "typing-stopped", peer)
        (self._composing.add if typing else self._composing.discard)(peer)


def nameserver() -> str:
    """PJSIP looks up SRV records only where it is told whom to ask."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("nameserver "))


class Phone:
    """The library, one account and a contact for everybody spoken to."""

    def __init__(self, user: str, registrar: str, host: str, port: int) -> None:
        self.library = pj.Endpoint()
        self.library.libCreate()
        settings = pj.EpConfig()
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.mainThreadOnly = True
        settings.uaConfig.nameserver.append(nameserver())
        settings.logConfig.consoleLevel = 4
        self.library.libInit(settings)
        transport = pj.TransportConfig()
        transport.port = port
        transport.boundAddress = host
        transport.publicAddress = host
        self.library.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        self.library.audDevManager().setNullDev()
        self.library.libStart()
        account = pj.AccountConfig()
        account.idUri = f"sip:{user}"
        account.regConfig.registrarUri = f"sip:{registrar}"
        account.sipConfig.proxies.append(f"sip:{registrar};lr")
        self.account = Account()
        self.account.create(account)
        self.contacts: dict[str, pj.Buddy] = {}

    def run(self) -> None:
        """Until standard input ends."""
        commands = Commands()
        while commands.open:
            for words in commands.within(0):
                self._do(*words)
            self.library.libHandleEvents(int(POLL * 1000))
        self.library.libDestroy()

    def _contact(self, peer: str) -> pj.Buddy:
        if peer not in self.contacts:
            contact, settings = pj.Buddy(), pj.BuddyConfig()
            settings.uri = f"sip:{peer}"
            contact.create(self.account, settings)
            self.contacts[peer] = contact
        return self.contacts[peer]

    def _do(self, verb: str, peer: str = "", text: str = "") -> None:
        if verb == "send":
            message = pj.SendInstantMessageParam()
            message.content = text
            self._contact(peer).sendInstantMessage(message)
        elif verb in ("type", "pause"):
            state = pj.SendTypingIndicationParam()
            state.isTyping = verb == "type"
            self._contact(peer).sendTypingIndication(state)


if __name__ == "__main__":
    Phone(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])).run()
