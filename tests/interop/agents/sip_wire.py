"""Sockets and transactions of a SIP user agent: UDP, TCP and TLS, retransmissions, connection reuse."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from agents.ladder import Ladder
from agents.sip_text import Malformed, SipMessage, frame, parse

T1 = 0.5
T2 = 4.0
NO_ANSWER = 408  # what a client reports when nothing comes (RFC 3261 §8.1.3.1)
BROKEN = 503  # and when the transport fails


@dataclass(frozen=True)
class Hop:
    """Where requests go: transport (udp, tcp, tls), address, port and the name that TLS must prove."""

    transport: str
    host: str
    port: int
    name: str = ""


@dataclass(frozen=True)
class Security:
    """TLS contexts of an agent: `listener` is absent when it accepts no TLS connections."""

    client: ssl.SSLContext
    listener: ssl.SSLContext | None = None


Reply = Callable[[bytes], None]


class Stream(asyncio.Protocol):
    """One TCP or TLS connection, cut into messages."""

    def __init__(self, wire: Wire, transport_name: str) -> None:
        self.wire = wire
        self.name = transport_name
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.wire.streams.add(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            while True:
                message, self.buffer = frame(self.buffer)
                if message is None:
                    return
                self.wire.received(message, self.name, self.write)
        except Malformed as error:
            self.wire.malformed(error, self.buffer)
            self.close()

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.wire.lost(self)


class Datagrams(asyncio.DatagramProtocol):
    """The UDP socket of an agent."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        if data.strip(b"\r\n\0"):
            self.wire.received(data, "udp", lambda answer: self.write(answer, source))

    def write(self, data: bytes, target: tuple[str, int]) -> None:
        if self.transport is not None:
            self.transport.sendto(data, target)


class Wire:
    """Everything between an agent's mind and the network. `on_request` answers through `respond`."""

    def __init__(self, label: str, host: str, port: int, ladder: Ladder, security: Security | None) -> None:
        self.label = label
        self.host = host
        self.port = port
        self.ladder = ladder
        self.security = security
        self.on_request: Callable[[SipMessage], SipMessage | None] = lambda request: None
        self.complaints: list[str] = []
        self.streams: set[Stream] = set()
        self._datagrams = Datagrams(self)
        self._dialled: dict[Hop, Stream] = {}
        self._servers: list[asyncio.Server] = []
        self._clients: dict[tuple[str, str], asyncio.Queue[SipMessage]] = {}
        self._carriers: dict[tuple[str, str], Stream] = {}
        self._answers: dict[tuple[str, str], bytes] = {}

    @property
    def shown_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    async def open(self, tls_ports: dict[int, ssl.SSLContext] | None = None) -> None:
        """Listen on UDP and TCP at our port, and on TLS at the ports given."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self._datagrams, local_addr=(self.host, self.port))
        self._servers.append(await loop.create_server(lambda: Stream(self, "tcp"), self.host, self.port))
        for port, context in (tls_ports or {}).items():
            server = await loop.create_server(lambda: Stream(self, "tls"), self.host, port, ssl=context)
            self._servers.append(server)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for stream in list(self.streams):
            stream.close()
        if self._datagrams.transport is not None:
            self._datagrams.transport.close()

    def lost(self, stream: Stream) -> None:
        """Whoever waits for an answer on this connection waits in vain."""
        self.streams.discard(stream)
        for key in [key for key, carrier in self._carriers.items() if carrier is stream]:
            self._clients[key].put_nowait(SipMessage(status=BROKEN, reason="connection closed"))
        self._dialled = {hop: other for hop, other in self._dialled.items() if other is not stream}

    def malformed(self, error: Exception, data: bytes) -> None:
        self.complaints.append(f"{self.label} could not read what came: {error}")
        self.ladder.note(self.label, "<!", data.decode(errors="replace"))

    def received(self, data: bytes, transport: str, reply: Reply) -> None:
        try:
            message = parse(data)
        except Malformed as error:
            self.malformed(error, data)
            return
        self.ladder.note(self.label, f"<{transport}", str(message))
        if message.is_request:
            self._request(message, reply)
        else:
            waiting = self._clients.get((message.branch, message.cseq[1]))
            if waiting is not None:
                waiting.put_nowait(message)

    def _request(self, request: SipMessage, reply: Reply) -> None:
        key = (request.branch, request.method)
        if key not in self._answers:
            response = self.on_request(request)
            if response is None:
                return
            self._answers[key] = response.encode()
            self.ladder.note(self.label, ">", str(response))
        reply(self._answers[key])

    async def request(self, request: SipMessage, hop: Hop, patience: float = 64 * T1) -> SipMessage:
        """Send a request and wait for its final response; silence becomes 408, a broken transport 503."""
        branch = f"z9hG4bK-{secrets.token_hex(8)}"
        request.headers.insert(0, ("Via", self._via(hop, branch)))
        queue: asyncio.Queue[SipMessage] = asyncio.Queue()
        key = (branch, request.method)
        self._clients[key] = queue
        self.ladder.note(self.label, f"{hop.transport}>", str(request))
        try:
            write = await self._writer(hop, key)
            return await self._exchange(request.encode(), write, queue, patience, hop.transport == "udp")
        except (OSError, ssl.SSLError) as error:
            return SipMessage(status=BROKEN, reason=f"{hop.transport} to {hop.host}: {error}")
        finally:
            del self._clients[key]
            self._carriers.pop(key, None)

    def _via(self, hop: Hop, branch: str) -> str:
        return f"SIP/2.0/{hop.transport.upper()} {self.shown_host}:{self.port};branch={branch};rport"

    async def send(self, request: SipMessage, hop: Hop) -> None:
        """Send a request that has no response (ACK)."""
        request.headers.insert(0, ("Via", self._via(hop, f"z9hG4bK-{secrets.token_hex(8)}")))
        self.ladder.note(self.label, f"{hop.transport}>", str(request))
        key = ("", "")
        write = await self._writer(hop, key)
        self._carriers.pop(key, None)
        write(request.encode())

    @staticmethod
    async def _exchange(data: bytes, write: Reply, queue: asyncio.Queue[SipMessage], patience: float,
                        resend: bool) -> SipMessage:
        loop = asyncio.get_running_loop()
        limit = loop.time() + patience
        interval = T1
        write(data)
        while True:
            wait = min(interval, limit - loop.time()) if resend else limit - loop.time()
            try:
                response = await asyncio.wait_for(queue.get(), max(wait, 0))
            except TimeoutError:
                if loop.time() >= limit:
                    return SipMessage(status=NO_ANSWER, reason="no answer")
                interval = min(interval * 2, T2)
                write(data)
                continue
            if response.status >= 200:
                return response
            interval = T2

    async def _writer(self, hop: Hop, key: tuple[str, str]) -> Reply:
        if hop.transport == "udp":
            return lambda data: self._datagrams.write(data, (hop.host, hop.port))
        stream = self._dialled.get(hop)
        if stream is None:
            stream = await self._dial(hop)
            self._dialled[hop] = stream
        self._carriers[key] = stream
        return stream.write

    async def _dial(self, hop: Hop) -> Stream:
        loop = asyncio.get_running_loop()
        context = self.security.client if hop.transport == "tls" and self.security else None
        _, stream = await asyncio.wait_for(
            loop.create_connection(lambda: Stream(self, hop.transport), hop.host, hop.port, ssl=context,
                                   server_hostname=hop.name if context else None,
                                   local_addr=(self.host, 0)), 5)
        return stream
