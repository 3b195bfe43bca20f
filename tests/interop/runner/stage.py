"""Everything that lives while one case runs: its users, the gateway, and what was disturbed and must be mended."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from agents.accounts import create
from agents.client_user import ClientUser
from agents.inbox import Missed
from agents.ladder import Ladder
from agents.session_user import SessionUser
from agents.sip_user import SipUser
from agents.sip_wire import Hop, Security, Wire
from agents.sipe_user import SipeUser
from agents.xmpp_user import XmppUser
from lab.certificates import Authority
from lab.hosts import EDGE, EJABBERD, GATEWAY, KAMAILIO, PROSODY, UA_SERVER, USERS, v4
from lab.names import EJABBERD_DOMAINS, FAULTY_PORTS, HOST_RECORDS, XMPP_DOMAINS
from lab.world import PEER_HOSTS, World
from msrp.agent import MsrpUser
from msrp.link import Door
from msrp.rooms import Focus, RoomUser
from runner import clients
from runner.case import Case, User
from runner.office import Office
from runner.traffic import Traffic
from subjects import Subject

PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
LISTENERS = {5061: "ua", **{port: f"{fault}.ua" for fault, port in FAULTY_PORTS.items()}}
FIRST_PORT = 20000
PORT_STEP = 10
MSRP_OFFSET = 4  # an agent's MSRP port above its SIP port; TLS is at the next


class Stage:
    """Use as an async context: users are logged in and the gateway is up inside."""

    next_port = FIRST_PORT

    def __init__(self, case: Case, world: World, subject: Subject | None, folder: Path) -> None:
        self.case = case
        self.world = world
        self.subject = subject if case.needs_gateway else None
        self.folder = folder
        self.ladders: dict[str, Ladder] = {}
        self.xmpp: dict[str, XmppUser] = {}
        self.sip: dict[str, SipUser] = {}
        self.clients: dict[str, ClientUser] = {}
        self.office: Office | None = None
        self.traffic: Traffic | None = None
        self.remarks: list[str] = []
        self._accounts: dict[str, asyncio.Task[None]] = {}
        self._unplugged: set[str] = set()
        self._stopped: set[str] = set()

    async def __aenter__(self) -> Stage:
        for service in self.world.services.values():
            service.mark()
        try:
            # Before the gateway signs in with it: a wrong password waits for a person.
            accounts = [words[1] for words in self.case.gateway.accounts]
            await asyncio.gather(*(self._make(user) for user in self.case.users.values() if user.address in accounts))
            if self.subject is not None:
                self.folder.mkdir(parents=True)
                await asyncio.to_thread(self.subject.start, self.case.gateway, self.folder)
            if any(user.kind == "sipe" for user in self.case.users.values()):
                await self._open_office()
            await asyncio.gather(*(self._enter(user) for user in self.case.users.values()))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.traffic is not None:
            self.traffic.stop()
        for name in list(self._unplugged):
            await self.plug(name)
        for name in list(self._stopped):
            await self.start_peer(name)
        if self.subject is not None:
            await asyncio.to_thread(self.subject.leave)
        if self.office is not None:
            await self.office.close()
        for agent in self.sip.values():
            agent.close()
        for user in self.xmpp.values():
            user.leave()
        await asyncio.gather(*(user.leave() for user in self.clients.values()))

    async def _enter(self, user: User) -> None:
        if user.kind == "xmpp":
            await self._enter_xmpp(user)
        elif user.kind in ("registered", "server"):
            await self._enter_sip(user)
        elif user.kind == "client":
            await self._enter_client(user)
        elif user.kind == "sipe" and self.office is not None:
            await self.office.enter(user)

    async def _open_office(self) -> None:
        self.office = Office(self.world, self.folder, self._ladder("OCS"), self._ladder("pidgin-sipe"), self.case.edge)
        await self.office.open()

    async def _make(self, user: User) -> tuple[str, int]:
        """An XMPP user's account; his server comes back."""
        host = EJABBERD if user.domain in EJABBERD_DOMAINS else PROSODY
        server = (host.v4, 5222)
        # Once for all devices of a user: ejabberd crashes the log-in of an account that is being made twice.
        if user.address not in self._accounts:
            self._accounts[user.address] = asyncio.create_task(create(user.address, server))
        await self._accounts[user.address]
        return server

    async def _enter_xmpp(self, user: User) -> None:
        server = await self._make(user)
        agent = XmppUser(user.address, user.name, server, self._ladder("XMPP"))
        self.xmpp[user.name] = agent
        if user.online:
            await agent.login()

    async def _enter_client(self, user: User) -> None:
        if user.domain in XMPP_DOMAINS:
            await create(user.address, (PROSODY.v4, 5222))
        agent = ClientUser(user.address, user.name, self._ladder("clients"))
        self.clients[user.name] = agent
        host, port = self._place(user)
        others = [other.address for other in self.case.users.values() if other is not user]
        folder = self.folder / "clients"
        command = clients.command(self.world, user, f"{host}:{port}", folder / user.name, others)
        await agent.run(self.world.network.exec(USERS, *command), folder, **clients.environment())
        await agent.login()

    async def _enter_sip(self, user: User) -> None:
        serves = user.kind == "server"
        host, port = self._place(user)
        leaves = LISTENERS if serves else {port + 1: "ua"}
        wire = Wire(user.name, host, port, self._ladder("SIP"), self._security(self.world.authority, user))
        agent = self._agent(user, wire, serves)
        self.sip[user.name] = agent
        await wire.open({number: self._listener(leaf, user) for number, leaf in leaves.items()})
        if isinstance(agent, MsrpUser):
            await agent.listen()
        if user.online and not serves and not user.direct:
            await agent.register()

    def _agent(self, user: User, wire: Wire, serves: bool) -> SipUser:
        if user.msrp is not None:
            authority = self.world.authority
            certificate, key = authority.chain(user.certificate)
            door = Door(wire.host, wire.port + MSRP_OFFSET, (str(certificate), str(key)), str(authority.root),
                        {name: addresses[0] for name, addresses in HOST_RECORDS.items()})
            kind = Focus if user.msrp.focus else RoomUser
            return kind(user.address, wire, self._hop(user), serves, user.msrp, door)
        scripted = SessionUser if user.partner == "edge" else SipUser
        return scripted(user.address, wire, self._hop(user), serves)

    @staticmethod
    def _place(user: User) -> tuple[str, int]:
        """The address and port that the agent has for itself."""
        if user.kind == "server":
            return v4(UA_SERVER), 5060
        Stage.next_port += PORT_STEP
        return (USERS.v6 if user.domain.startswith("v6.") else USERS.v4), Stage.next_port

    @staticmethod
    def _hop(user: User) -> Hop:
        """Where the agent's requests go: its registrar, or the gateway."""
        port = PORTS[user.transport]
        if user.partner == "edge":
            return Hop("tls", v4(EDGE), PORTS["tls"], "edge.corp.test")
        if user.kind == "server" or user.direct:
            return Hop(user.transport, GATEWAY.v4, port, "gw.ocs.test")
        host = KAMAILIO.v6 if user.domain.startswith("v6.") else KAMAILIO.v4
        return Hop(user.transport, host, port, "sip.ocs.test")

    def _security(self, authority: Authority, user: User) -> Security:
        client = ssl.create_default_context(cafile=str(authority.root))
        if user.certificate != "none":
            client.load_cert_chain(*map(str, authority.chain(user.certificate)))
        return Security(client)

    def _listener(self, leaf: str, user: User) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.world.authority.root))
        context.load_cert_chain(*map(str, self.world.authority.chain(leaf)))
        context.verify_mode = ssl.CERT_REQUIRED if user.demand_certificate else ssl.CERT_NONE
        return context

    @property
    def users(self) -> dict[str, XmppUser | SipUser | SipeUser | ClientUser]:
        """Everybody with an inbox."""
        return {**self.xmpp, **self.sip, **self.sipe, **self.clients}

    @property
    def sipe(self) -> dict[str, SipeUser]:
        return self.office.users if self.office is not None else {}

    def _ladder(self, side: str) -> Ladder:
        return self.ladders.setdefault(side, Ladder())

    # Disturbances.

    async def disturb_gateway(self, *actions: str) -> None:
        """stop, kill, resume, freeze or thaw the gateway, or fill or free its disk. Raises LookupError in a case without one."""
        if self.subject is None:
            raise LookupError("this case has no gateway")
        self._breaking(f"gateway: {' and '.join(actions)}")
        for action in actions:
            await asyncio.to_thread(getattr(self.subject, action))

    def _breaking(self, what: str) -> None:
        if self.traffic is not None:
            self.traffic.broke(what)

    async def cut(self, name: str, port: int) -> None:
        """End the peer's TCP connections at a port with a reset."""
        self._breaking(f"{name}: cut")
        await asyncio.to_thread(self.world.network.cut, PEER_HOSTS[name], port)

    async def unplug(self, name: str) -> None:
        self._breaking(f"{name}: unplug")
        self._unplugged.add(name)
        await asyncio.to_thread(self.world.network.cable, PEER_HOSTS[name], False)

    async def plug(self, name: str) -> None:
        self._unplugged.discard(name)
        await asyncio.to_thread(self.world.network.cable, PEER_HOSTS[name], True)

    async def stop_peer(self, name: str) -> None:
        self._breaking(f"{name}: stop")
        self._stopped.add(name)
        await asyncio.to_thread(self.world.services[name].stop)

    async def start_peer(self, name: str) -> None:
        self._stopped.discard(name)
        self.world.services[name].start()
        await asyncio.to_thread(self.world.wait_ready, name)

    # What the gateway remembers.

    async def ledger(self, direction: str, xmpp: str, sip: str, wanted: list[str], seconds: float) -> None:
        """Wait until the gateway's ledger says that. Raises Missed."""
        if self.subject is None:
            raise LookupError("this case has no gateway")
        loop = asyncio.get_running_loop()
        limit = loop.time() + seconds
        while (found := await asyncio.to_thread(self.subject.ledger, direction, xmpp, sip)) != wanted:
            if loop.time() > limit:
                raise Missed(f"the ledger says {' '.join(found)}, not {' '.join(wanted)}")
            await asyncio.sleep(0.1)

    async def says(self, what: str, partner: str, seconds: float) -> None:
        """Wait until the gateway's log says that of a partner, or one of what `|` lists. Raises Missed."""
        subject = self.subject
        if subject is None:
            raise LookupError("this case has no gateway")
        loop = asyncio.get_running_loop()
        limit = loop.time() + seconds
        while not await asyncio.to_thread(lambda: any(subject.says(word, partner) for word in what.split("|"))):
            if loop.time() > limit:
                raise Missed(f"the gateway's log does not say `{what}` of {partner}")
            await asyncio.sleep(0.1)

    # The end of a case.

    async def settle(self) -> None:
        """Let what is already on its way to the users arrive: one round trip to each XMPP user's server."""
        await asyncio.gather(*(user.round_trip() for user in self.xmpp.values()))
        if self.office is not None:
            await self.office.settle()

    def check_nothing_left(self) -> None:
        """Whatever no step has read is a surprise. Raises Missed."""
        surprises = [f"{name}: {event}" for name, user in self.users.items() for event in user.inbox.events]
        surprises += [text for user in self.sip.values() for text in user.wire.complaints]
        surprises += [text for user in self.sip.values() if isinstance(user, MsrpUser)
                      for text in user.unacknowledged()]
        surprises += [text for user in self.xmpp.values() for text in user.complaints]
        surprises += [text for user in self.clients.values() for text in user.complaints]
        if self.office is not None:
            surprises += [f"edge: {event}" for event in self.office.edge.inbox.events if event.kind == "fault"]
            surprises += self.office.complaints()
        if self.subject is not None and self.subject.fault():
            surprises.append(self.subject.fault())
        if surprises:
            raise Missed("left over at the end: " + "; ".join(surprises[:10]))
