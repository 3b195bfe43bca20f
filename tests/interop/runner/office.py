"""The stand-in for OCS while one case runs: its Edge, its home server and the pidgin-sipe users that sign on to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from agents.inbox import Missed
from agents.ladder import Ladder
from agents.sipe_user import SipeUser
from lab.hosts import EDGE, GATEWAY, UA_SERVER, USERS, v4
from lab.names import OCS_DOMAINS, UA_DOMAINS, XMPP_DOMAINS
from lab.world import World
from ocs import home
from ocs.accounts import Account
from ocs.edge import Edge, Partner
from ocs.home import Home
from ocs.settings import Settings
from runner.case import User

PASSWORD = "secret"
FIRST_STATE_LIMIT = 10.0
PARTNERS = (Partner(tuple(XMPP_DOMAINS), "gw.ocs.test", GATEWAY.v4), Partner(UA_DOMAINS, "ua.ua.test", v4(UA_SERVER)))


class Office:
    """Everything at corp.test."""

    def __init__(self, world: World, folder: Path, wire: Ladder, desks: Ladder, settings: Settings) -> None:
        self.world = world
        self.folder = folder
        self.desks = desks
        self.users: dict[str, SipeUser] = {}
        self.edge = Edge(OCS_DOMAINS[0], v4(EDGE), PARTNERS, wire, settings)
        self.home = Home(OCS_DOMAINS[0], v4(EDGE), self.edge, wire)

    async def open(self) -> None:
        authority = self.world.authority
        chain = tuple(map(str, authority.chain("edge")))
        client = ssl.create_default_context(cafile=str(authority.root))
        client.load_cert_chain(*chain)
        listener = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.root))
        listener.load_cert_chain(*chain)
        listener.verify_mode = ssl.CERT_REQUIRED
        await self.edge.open(listener, client)
        await self.home.open()

    async def enter(self, user: User) -> None:
        """Make the account and start the client; sign it on unless the case does that later."""
        self.home.add(Account(user.address, user.name.capitalize(), PASSWORD, user.mode))
        agent = SipeUser(user.address, user.name, f"{v4(EDGE)}:{home.PORT}", user.password, self.desks)
        self.users[user.name] = agent
        await self._start(agent)
        if user.online:
            await self.login(agent)

    async def _start(self, agent: SipeUser) -> None:
        client = str(self.world.sipe_client())
        await agent.start(self.world.network.exec(USERS, client), self.folder / "sipe")

    async def kill(self, agent: SipeUser) -> None:
        """End the client at once; it is started anew at its next log-in."""
        await agent.kill()

    async def login(self, agent: SipeUser) -> None:
        """Until the client has published its first state. Raises RuntimeError."""
        if not agent.running:
            await self._start(agent)
        await agent.login()
        try:
            await asyncio.wait_for(self.home.accounts[agent.user].presented.wait(), FIRST_STATE_LIMIT)
        except TimeoutError:
            raise RuntimeError(f"{agent.user} has signed on, but publishes nothing") from None

    async def deny(self, agent: SipeUser, peer: str, seconds: float) -> None:
        """Block somebody, until both the server and the client know it. Raises Missed."""
        await self._decide(agent, lambda: agent.contact("deny", peer), seconds)

    async def give(self, agent: SipeUser, peer: str, level: str, seconds: float) -> None:
        """Raise a contact to an access level by its name in the client's menu. Raises Missed."""
        await self._decide(agent, lambda: agent.menu(peer, level), seconds)

    async def _decide(self, agent: SipeUser, act: Callable[[], None], seconds: float) -> None:
        account = self.home.accounts[agent.user]
        try:
            async with asyncio.timeout(seconds):
                await self.home.round_trip(account)
                account.decided.clear()
                act()
                await account.decided.wait()
                await self.home.round_trip(account)
        except TimeoutError:
            raise Missed(f"waited {seconds:g} s for {agent.label}'s decision to reach the server") from None

    async def settle(self) -> None:
        """Let what is on its way to the clients arrive."""
        await asyncio.gather(*(self.home.round_trip(account) for account in self.home.accounts.values()))

    async def close(self) -> None:
        for agent in self.users.values():
            await agent.leave()
        self.home.close()
        self.edge.close()

    def complaints(self) -> list[str]:
        said = [text for agent in self.users.values() for text in agent.complaints]
        return said + self.edge.exchange.complaints + self.home.exchange.complaints
