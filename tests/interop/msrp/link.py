"""MSRP connections: a listener for those that come, and those that we make; TLS by fingerprint (RFC 4975 §14)."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from typing import cast

from msrp.wire import Fault, Frame, Reader

CONNECT_LIMIT = 5.0
Take = Callable[["Link", Frame], None]


class Link(asyncio.Protocol):
    """One connection. Frames go to `take`; a breach of the grammar goes to `fault` and ends it."""

    def __init__(self, take: Take, fault: Callable[[str], None], lost: Callable[[Link], None]) -> None:
        self._take = take
        self._fault = fault
        self._lost = lost
        self._reader = Reader()
        self.transport: asyncio.Transport | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(self, frame)
        except Fault as fault:
            self._fault(f"{fault} in {data[:300]!r}")
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        if self._reader.rest:
            self._fault(f"the connection ends within a message: {self._reader.rest[:300]!r}")
        self._lost(self)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.closed:
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the peer's certificate, or "" without TLS or certificate."""
        tls = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        shown = tls.getpeercert(binary_form=True) if tls is not None else None
        return colons(hashlib.sha256(shown).digest()) if shown else ""


def colons(digest: bytes) -> str:
    return ":".join(f"{octet:02X}" for octet in digest)


class Door:
    """Where an agent's MSRP connections come in and go out."""

    def __init__(self, host: str, port: int, chain: tuple[str, str], root: str, hosts: dict[str, str]) -> None:
        """hosts: the addresses of names, since this process asks no DNS of the lab's."""
        self.host = host
        self._hosts = hosts
        self.port = port
        self._chain = chain
        self._root = root
        self._servers: list[asyncio.Server] = []

    @property
    def fingerprint(self) -> str:
        with open(self._chain[0]) as certificate:
            return colons(hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read())).digest())

    async def open(self, make: Callable[[], Link]) -> None:
        """Listen for MSRP at our port, for MSRP over TLS at the next."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._root)
        context.load_cert_chain(*self._chain)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._servers = [await loop.create_server(make, self.host, self.port),
                         await loop.create_server(make, self.host, self.port + 1, ssl=context)]

    async def dial(self, host: str, port: int, secure: bool, make: Callable[[], Link]) -> Link:
        """Raises OSError. The certificate is for the caller to check, by its fingerprint."""
        context = None
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(*self._chain)
        loop = asyncio.get_running_loop()
        address = self._hosts.get(host.lower(), host)
        _, link = await asyncio.wait_for(loop.create_connection(make, address, port, ssl=context,
                                                                local_addr=(self.host, 0)), CONNECT_LIMIT)
        return link

    def close(self) -> None:
        for server in self._servers:
            server.close()
