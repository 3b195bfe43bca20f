"""The Edge: mutual TLS with allowed partners, signed route sets, and nothing let in that a real one refuses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
from dataclasses import dataclass, field
from typing import Protocol

from agents.inbox import Inbox
from agents.ladder import Ladder
from agents.sip_text import Malformed, SipMessage, address, bare, parameter
from ocs.exchange import Answer, Exchange, Link, pop_via, respond, without
from ocs.settings import Settings

PORT = 5061
DIAL_LIMIT = 5.0
METHODS = "INVITE, ACK, BYE, CANCEL, MESSAGE, INFO, OPTIONS, SUBSCRIBE, NOTIFY, BENOTIFY, UPDATE"


@dataclass(frozen=True)
class Partner:
    """One line of the allow list: whose domains, the name that its certificate must prove, and where it is."""

    domains: tuple[str, ...]
    name: str
    host: str
    port: int = PORT


@dataclass
class Route:
    """What the Edge knows of a dialog with a partner: its route set, and what must come back unchanged."""

    lines: list[str]
    target: str = ""
    epid: str = ""
    highest: dict[tuple[str, str], int] = field(default_factory=dict)
    fork: str = ""


class Inside(Protocol):
    """The home server, as the Edge sees it."""

    def from_partner(self, link: Link, request: SipMessage) -> None: ...


class Edge:
    """Requests to partners leave by `send`; those from partners that pass all checks go to `inside`.

    `inbox` gets `fault` events (what no real Edge would let pass) and `negotiated`.
    """

    def __init__(self, domain: str, host: str, partners: tuple[Partner, ...], ladder: Ladder,
                 settings: Settings) -> None:
        self.domain = domain
        self.name = f"edge.{domain}"
        self.pool = f"pool.{domain}"
        self.host = host
        self.partners = partners
        self.settings = settings
        self.inside: Inside | None = None
        self.inbox = Inbox()
        self.exchange = Exchange("edge", f"SIP/2.0/TLS {host}:{PORT}", ladder, branches=True)
        self.exchange.on_request = self._request
        self.exchange.on_lost = self._lost
        self._key = secrets.token_bytes(16)
        self._routes: dict[str, Route] = {}
        self._lines: dict[str, asyncio.Task[Link]] = {}
        self._server: asyncio.Server | None = None
        self._client: ssl.SSLContext | None = None
        self._listener: ssl.SSLContext | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, listener: ssl.SSLContext, client: ssl.SSLContext) -> None:
        """Listen for partners. Both contexts show the Edge's certificate and demand the other's."""
        self._client = client
        self._listener = listener
        await self.start()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self.exchange), self.host, PORT, ssl=self._listener)

    def stop(self) -> None:
        """Be gone: nobody listens, and all connections end."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def close(self) -> None:
        for task in (*self._tasks, *self._lines.values()):
            task.cancel()
        if self._server is not None:
            self._server.close()
        self.exchange.close()

    def cut(self) -> None:
        """End all connections with partners with a reset."""
        for link in list(self.exchange.links):
            link.cut()

    def fault(self, what: str) -> None:
        self.inbox.put("fault", self.name, text=what)

    # Outwards.

    def serves(self, domain: str) -> Partner | None:
        return next((partner for partner in self.partners if domain in partner.domains), None)

    def send(self, request: SipMessage, domain: str, on_answer: Answer, branch: str = "") -> str:
        """Send a request to the partner of a domain; return its branch. What can't be sent is answered here."""
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        partner = self.serves(domain)
        if partner is None:
            reason = f'1005;reason="Cannot route to destination domain";source="{self.name}"'
            answer = respond(request, 404, "Not Found").add("ms-diagnostics", reason)
            asyncio.get_running_loop().call_soon(on_answer, answer)
            return branch
        if request.method in ("INVITE", "SUBSCRIBE") and not parameter(request.get("To"), "tag"):
            self._record(request, outwards=True)
        elif request.method in ("NOTIFY", "BENOTIFY"):  # it may overtake the 200 (RFC 6665 §4.3)
            self._record_lines(request, self._routes[request.get("Call-ID")].lines)
        task = asyncio.get_running_loop().create_task(self._send(partner, request, on_answer, branch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return branch

    async def _send(self, partner: Partner, request: SipMessage, on_answer: Answer, branch: str) -> None:
        try:
            link = await self._line(partner)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            reason = f'1010;reason="{type(error).__name__} at the partner";source="{self.name}"'
            on_answer(respond(request, 504, "Server time-out").add("ms-diagnostics", reason))
            return
        vias = [value for name, value in request.headers if name.lower() == "via"]

        def answered(response: SipMessage) -> None:
            self._check_answer(request, response, vias)
            on_answer(pop_via(response))

        self.exchange.send(link, request, answered, branch)

    async def _line(self, partner: Partner) -> Link:
        """The connection that we opened to a partner. Raises OSError, SSLError or TimeoutError."""
        task = self._lines.get(partner.name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._dial(partner))
            self._lines[partner.name] = task
        try:
            return await asyncio.shield(task)
        except (OSError, ssl.SSLError, TimeoutError):
            if self._lines.get(partner.name) is task:
                del self._lines[partner.name]
            raise

    async def _dial(self, partner: Partner) -> Link:
        loop = asyncio.get_running_loop()
        _, link = await asyncio.wait_for(
            loop.create_connection(lambda: Link(self.exchange), partner.host, partner.port, ssl=self._client,
                                   server_hostname=partner.name, local_addr=(self.host, 0)), DIAL_LIMIT)
        if self.settings.negotiate:
            await self._negotiate(link, partner)
        return link

    async def _negotiate(self, link: Link, partner: Partner) -> None:
        """Offer compression before anything else; plain SIP follows whatever a partner that declines says."""
        answer: asyncio.Future[SipMessage] = asyncio.get_running_loop().create_future()
        request = SipMessage(method="NEGOTIATE", uri=f"sip:{partner.host}:{partner.port}")
        request.add("From", f"<sip:{self.name}>;tag={secrets.token_hex(5)}").add("To", f"<sip:{partner.name}>")
        request.add("Call-ID", secrets.token_hex(16)).add("CSeq", "1 NEGOTIATE").add("Compression", "LZ77-8K")
        self.exchange.send(link, request, answer.set_result)
        response = await asyncio.wait_for(answer, DIAL_LIMIT)
        if response.status < 300 and response.get("Compression", "None").lower() != "none":
            self.fault(f"NEGOTIATE answered {response.status} with Compression {response.get('Compression')}")
        self.inbox.put("negotiated", partner.name, status=str(response.status))

    def _lost(self, link: Link) -> None:
        for name, task in list(self._lines.items()):
            if task.done() and not task.cancelled() and task.exception() is None and task.result() is link:
                del self._lines[name]

    def _check_answer(self, request: SipMessage, response: SipMessage, vias: list[str]) -> None:
        """What a response must bring back unchanged."""
        back = response.all("Via")[1:]
        if back != vias:
            self.fault(f"{response.status} to {request.get('CSeq')} lost Vias: {back}")
        for name in ("From", "Call-ID", "CSeq"):
            if response.get(name) != request.get(name):
                self.fault(f"{response.status} to {request.get('CSeq')} changed {name}: {response.get(name)}")
        records = request.all("Record-Route")
        makes_dialog = request.method in ("INVITE", "SUBSCRIBE") and 200 <= response.status < 300
        if makes_dialog and records and _lines(response, "Record-Route") != records:
            self.fault(f"{response.status} to {request.get('CSeq')} changed Record-Route")

    # Route sets.

    def _record(self, request: SipMessage, outwards: bool) -> None:
        """Put the Edge and the pool into the route set, as they do, with signatures in and behind the URIs."""
        call_id = request.get("Call-ID")
        edge = (f"<sip:{self.name}:{PORT};transport=tls;opaque=state:F;lr;ms-route-sig={self._sign('edge', call_id)}>"
                f";tag={self._sign('tag', call_id)[:12].upper()}")
        pool = (f"<sip:{self.pool}:{PORT};transport=tls;ms-fe=fe1.{self.domain};opaque=state:T:F;lr"
                f";ms-route-sig={self._sign('pool', call_id)}>;ms-rrsig={self._sign('rrsig', call_id)}"
                f";tag={self._sign('pooltag', call_id)[:12].upper()}")
        lines = [edge, pool]
        self._routes[call_id] = Route(lines)
        self._record_lines(request, lines if outwards else lines[::-1])

    @staticmethod
    def _record_lines(request: SipMessage, top_down: list[str]) -> None:
        position = next(index for index, (name, _) in enumerate(request.headers) if name.lower() != "via")
        request.headers[position:position] = [("Record-Route", line) for line in top_down]

    def _sign(self, purpose: str, call_id: str) -> str:
        digest = hmac.new(self._key, f"{purpose} {call_id}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")[:40]

    def remember(self, call_id: str, target: str, epid: str) -> None:
        """Our side of a dialog: the URI that the partner must address, and the epid that it must keep."""
        route = self._routes.get(call_id)
        if route is not None:
            route.target = target
            route.epid = epid

    def fork(self, call_id: str, tag: str) -> None:
        """A second device has answered in this call, under this tag."""
        self._routes[call_id].fork = tag

    # Inwards.

    def _request(self, link: Link, request: SipMessage) -> None:
        if request.method == "NEGOTIATE":
            link.write(respond(request, 488, "Not Acceptable Here"))
        elif request.method == "OPTIONS" and "@" not in request.uri:
            link.write(respond(request, 200, "OK").add("Allow", METHODS))
        elif self._admits(link, request) and self.inside is not None:
            self.inside.from_partner(link, without(request, "Route"))

    def _admits(self, link: Link, request: SipMessage) -> bool:
        """Is it from an allowed partner, for our domain, and within its dialog's route set? Else answer it."""
        try:
            partner = self.serves(bare(address(request.get("From"))).partition("@")[2])
        except Malformed as error:
            return self._refuse(link, request, 400, "Bad Request", f'1018;reason="{error}"')
        if partner is None or partner.name not in link.names:
            return self._refuse(link, request, 403, "Forbidden", '1002;reason="From URI not authorized"')
        if f"@{self.domain}" not in request.uri and self.pool not in request.uri:
            return self._refuse(link, request, 404, "Not Found", '1005;reason="Cannot route to destination domain"')
        if parameter(request.get("To"), "tag") and not self._within(link, request):
            return False
        if request.method in ("INVITE", "SUBSCRIBE") and not parameter(request.get("To"), "tag"):
            self._record(request, outwards=False)
        return True

    def _within(self, link: Link, request: SipMessage) -> bool:
        """A request within a dialog must bring the route set back octet for octet."""
        route = self._routes.get(request.get("Call-ID"))
        if route is None:
            return self._refuse(link, request, 481, "Call Leg/Transaction Does Not Exist", "", fault=False)
        if request.method == "ACK" and not request.all("Route"):
            return True  # to a refused INVITE: it goes no farther than the INVITE's own transaction
        came = _lines(request, "Route")
        if came != route.lines:
            return self._refuse(link, request, 400, "Bad Request", f'1004;reason="Route set is not valid: {came}"')
        forked = route.fork != "" and parameter(request.get("To"), "tag") == route.fork
        if route.target and request.uri != route.target and not forked:
            return self._refuse(link, request, 404, "Not Found",
                                f'1003;reason="Request-URI {request.uri} is not the Contact {route.target}"')
        if route.epid and not forked and parameter(request.get("To"), "epid") != route.epid:
            return self._refuse(link, request, 400, "Bad Request", '1018;reason="epid lost from To"')
        number, method = request.cseq
        if method not in ("ACK", "CANCEL"):
            pair = parameter(request.get("From"), "tag"), parameter(request.get("To"), "tag")
            if number <= route.highest.get(pair, -1):
                return self._refuse(link, request, 500, "Stale CSeq Value", '2005;reason="Stale CSeq"')
            route.highest[pair] = number
        return True

    def _refuse(self, link: Link, request: SipMessage, status: int, reason: str, diagnostics: str,
                fault: bool = True) -> bool:
        if fault:
            self.fault(f"{request.method} refused: {status} {diagnostics}")
        if request.method not in ("ACK", "BENOTIFY"):
            response = respond(request, status, reason)
            if diagnostics:
                response.add("ms-diagnostics", f'{diagnostics};source="{self.name}"')
            link.write(response)
        return False


def _lines(message: SipMessage, name: str) -> list[str]:
    """All values of a route header; a line may hold several."""
    values: list[str] = []
    for line in message.all(name):
        depth, start = 0, 0
        for index, letter in enumerate(line):
            depth += (letter == "<") - (letter == ">")
            if letter == "," and depth == 0:
                values.append(line[start:index].strip())
                start = index + 1
        values.append(line[start:].strip())
    return values


