"""stoxgate itself: the binary named by STOXGATE_BIN, or the workspace's release build."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path

from agents.accounts import PASSWORD
from lab.commands import LabError, Service, run
from lab.hosts import DNS, GATEWAY, KAMAILIO, UA_SERVER, v4, v6
from lab.names import COMPONENT_DOMAINS, KAMAILIO_DOMAINS, OCS_DOMAINS, SIP_DOMAINS, TLS_COMPONENTS
from lab.peers import COMPONENT_PORT, COMPONENT_SECRET, TLS_COMPONENT_PORT
from lab.world import PEER_HOSTS, World, connects
from subjects.options import Options

DEFAULT = Path(__file__).resolve().parents[3] / "target" / "release" / "stoxgate"
READY_LIMIT = 10.0
PASSWORD_FILE = "account-password"
DISK_SIZE = "24m"
BALLAST = "ballast"
PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}


# What the log says is wrong with a certificate, and in the same line what to do about it.
FAULT_WORDS = {
    "wrong": r"is for \S.*, not for \S.*("
             r"; ask its administrator for one that is|; if it is the right server, set certificate_names"
             r"|: the server needs one for|; it has to be valid for)",
    "stranger": r"its issuer.* is not in tls\.roots.*; add the authority to tls\.roots if you trust it",
    "expired": r"it expired on 20\d\d-\d\d-\d\d; its administrator has to have it renewed",
    "future": r"it is not valid before 20\d\d-\d\d-\d\d; .* set this machine's clock, otherwise its administrator has",
    "usage": r"it may not be used for TLS .*; its administrator has to have it issued for that",
    "revoked": r"it was revoked by its authority; its administrator has to have a new one issued",
}
# A SIP client's certificate for another name is no fault of TLS: the request is refused.
WRONG_CALLER = r"refused \(403\): .*; if the server is the domain's, add a name of its certificate to certificate_names"
# How such a line begins, about whom we dial and about who dials us.
DIALLED = r"(the stream to it failed|SIP connection failed|account is not signed in|component is not connected)"
CALLER = r"(XMPP partner: refused|SIP TLS handshake refused)"
# What a case calls it, and the words of the log for it.
WORDS = {
    "external": "proved its domain.*proof=certificate",
    "dialback": "proved its domain.*proof=dialback",
    "bidirectional": "used in both directions",
    "disk-full": "ERROR.*cannot write to the store.*check disk space",
    "signed-in": "XMPP account is signed in",
    "component": "XMPP component is connected",
    "resumed": "has its session again",
    **{fault: f"(WARN|ERROR).*{DIALLED}.*{words}" for fault, words in FAULT_WORDS.items()},
    **{f"caller-{fault}": f"WARN.*{CALLER}.*{words}" for fault, words in FAULT_WORDS.items()},
    "caller-wrong": f"WARN.*({CALLER}.*{FAULT_WORDS['wrong']}|{WRONG_CALLER})",
}


class Stoxgate:
    """One process in the gateway's namespace, configured by a file made from the case's options."""

    name = "stoxgate"

    def __init__(self, world: World) -> None:
        self.world = world
        self.binary = Path(os.environ.get("STOXGATE_BIN", DEFAULT)).absolute()
        if not self.binary.exists():
            raise LabError(f"no gateway at {self.binary}: cargo build --release, or set STOXGATE_BIN")
        self.service: Service | None = None
        self.config: Path | None = None
        self._disk: Path | None = None
        self._wanted = False

    def start(self, options: Options, folder: Path) -> None:
        state = folder / "state"
        state.mkdir()
        if options.disk == "small":
            run("mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(state))
            self._disk = state
        self.config = config = folder / "gateway.toml"
        (folder / PASSWORD_FILE).touch(mode=0o600)
        (folder / PASSWORD_FILE).write_text(PASSWORD)
        config.write_text(configuration(options, self.world.authority.folder, state))
        command = self.world.network.exec(GATEWAY, str(self.binary), "serve", "--config", str(config))
        self.service = Service(self.name, command, folder / "log", cwd=folder,
                               env={"NO_COLOR": "1"})
        self.resume()

    def resume(self) -> None:
        service = self._service()
        service.start()
        self._wanted = True
        limit = time.monotonic() + READY_LIMIT
        while not (connects((GATEWAY.v4, 5269)) and connects((GATEWAY.v4, 5060))):
            if not service.running() or time.monotonic() > limit:
                raise LabError("the gateway does not come up:\n" + "\n".join(service.tail()))
            time.sleep(0.02)

    def stop(self) -> None:
        self._wanted = False
        if self.service is not None:
            self.service.stop(grace=10)

    def kill(self) -> None:
        self._wanted = False
        self._service().kill()

    def freeze(self) -> None:
        self._service().signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._service().signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        if self._disk is None:
            raise LabError("only a small disk can be filled")
        with (self._disk / BALLAST).open("wb", buffering=0) as ballast:
            for octets in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(octets))

    def free_disk(self) -> None:
        if self._disk is not None:
            (self._disk / BALLAST).unlink()

    def leave(self) -> None:
        if self.service is not None:
            self.thaw()
        self.stop()
        if self._disk is not None:
            run("umount", str(self._disk))
            self._disk = None

    def tail(self) -> list[str]:
        return self.service.tail(60) if self.service is not None else []

    def says(self, what: str, partner: str) -> bool:
        """Whether a line of the log is about the partner and says so, in the words of WORDS."""
        lines = self.service.tail(20_000) if self.service is not None else []
        name = rf"(?<![\w.@-]){re.escape(partner)}(?![\w.-])"
        return any(re.search(WORDS[what], line) and re.search(name, line) for line in lines)

    def ledger(self, direction: str, xmpp: str, sip: str) -> list[str]:
        """What became of the messages between two users in one direction, the oldest first."""
        if self.config is None:
            raise LabError("the gateway was never started")
        lines = run(str(self.binary), "messages", "--config", str(self.config), "--direction", direction,
                    "--limit", "0", "--address", xmpp, "--format", "json").splitlines()
        entries = sorted(map(json.loads, lines), key=lambda entry: entry["number"])
        return [entry["outcome"] for entry in entries if entry["sip"].removeprefix("sip:").partition(";")[0] == sip]

    def fault(self) -> str:
        if self._wanted and not self._service().running():
            return "the gateway has ended by itself"
        panics = [line for line in self.tail() if "panicked at" in line]
        return f"the gateway panicked: {panics[0]}" if panics else ""

    def _service(self) -> Service:
        if self.service is None:
            raise LabError("the gateway was never started")
        return self.service


HABITS = {"page": [], "msrp": ['im = "session"', 'session_by = "msrp"']}
# The lab's agents are at addresses of the lab's network, which are private ones.
MSRP = {"off": [], "dial": ["[msrp]", "enabled = true", 'networks = ["10.9.0.0/24"]'],
        "listen": ["[msrp]", 'tcp = ["0.0.0.0:2855", "[::]:2855"]', 'tls = ["0.0.0.0:2856", "[::]:2856"]',
                   'networks = ["10.9.0.0/24"]']}


def configuration(options: Options, certificates: Path, state: Path) -> str:
    """gateway.toml for one case."""
    lines = ["[gateway]", 'host = "gw.ocs.test"', f'state_dir = "{state}"',
             "[log]", 'level = "info,stoxgate=debug,stox_core=debug,stox_sip=debug,stox_xmpp=debug"',
             "[dns]", f'servers = ["{DNS.v4}:53"]',
             "[tls]", f'certificate = "{certificates}/gw.crt"', f'key = "{certificates}/gw.key"',
             f'roots = ["{certificates}/ca.crt"]', f'crls = ["{certificates}/ca.crl"]',
             "[xmpp]", 'listen = ["0.0.0.0:5269", "[::]:5269"]',
             *_partners(),
             # The lab's network is a private one.
             "[[xmpp.partner]]", 'domain = "*"', 'tls = "required"', 'networks = ["10.9.0.0/24", "fd09::/64"]',
             *_trust(options), *_components(options.component), *_accounts(options),
             "[subscriptions]", 'notify_interval = "1s"', 'restart_spread = "2s"',
             "[sip]", f'client_certificate = "{options.sip_tls_client}"',
             *(f'{kind} = ["0.0.0.0:{port}", "[::]:{port}"]' for kind, port in PORTS.items()),
             *MSRP[options.msrp]]
    if options.conferences:
        lines += ["[rooms]", f'conferences = ["{options.conferences}"]']
    if options.sip_domains == "found":
        # The lab's network is a private one.
        return "\n".join([*lines, "[[sip.domain]]", 'domain = "*"', 'networks = ["10.9.0.0/24"]']) + "\n"
    for domain in SIP_DOMAINS:
        lines += _ocs(domain, options) if domain in OCS_DOMAINS else _domain(domain, options)
    return "\n".join(lines) + "\n"


# How the partners of the lab's trust matrix are treated, by the first label of their domain.
TRUST = {
    "ext": ['external = "required"', "dialback = false"],
    "dialback": ['external = "off"'],
    "strict": ['external = "off"', 'certificate = "verify"'],
    "bidi": ["bidirectional = true"],
}


def _partners() -> list[str]:
    lines = []
    for server in ("jabber.test", "ejabberd.test"):
        for label, keys in TRUST.items():
            lines += ["[[xmpp.partner]]", f'domain = "{label}.{server}"', *keys]
    return lines


def _trust(options: Options) -> list[str]:
    """How partners are treated that have no rule of their own."""
    if options.xmpp_trust == "open":
        return [f'certificate = "{options.xmpp_certificate}"']
    return {"external": TRUST["ext"], "strict": TRUST["strict"],
            "bidi": [*TRUST["bidi"], 'certificate = "verify"']}[options.xmpp_trust]


def _components(server: str) -> list[str]:
    if not server:
        return []
    if server == "tls":
        return [line for domain, host in TLS_COMPONENTS.items()
                for line in (*_component(domain, f"{host}:{TLS_COMPONENT_PORT}"), 'tls = "required"')]
    return _component(COMPONENT_DOMAINS[server], f"{PEER_HOSTS[server].v4}:{COMPONENT_PORT}")


def _component(domain: str, server: str) -> list[str]:
    return ["[[xmpp.component]]", f'domain = "{domain}"', f'server = "{server}"', f'secret = "{COMPONENT_SECRET}"']


def _accounts(options: Options) -> list[str]:
    lines = []
    for user, jid, *domains in options.accounts:
        lines += ["[[xmpp.account]]", f'user = "sip:{user}"', f'jid = "{jid}"', f'password_file = "{PASSWORD_FILE}"',
                  f"domains = {json.dumps(domains)}"]
    return lines


def _ocs(domain: str, options: Options) -> list[str]:
    """A domain behind an Edge: only its certificate speaks for it."""
    lines = ["[[sip.domain]]", f'domain = "{domain}"', f'certificate_names = ["edge.{domain}"]',
             f'dialect = "{options.dialect}"']
    if options.edge_route == "next_hop":
        lines.append(f'next_hop = "sip:edge.{domain}:5061;transport=tls"')
    return lines


def _domain(domain: str, options: Options) -> list[str]:
    number = KAMAILIO.number if domain in KAMAILIO_DOMAINS else UA_SERVER
    lines = ["[[sip.domain]]", f'domain = "{domain}"']
    if options.trust == "address":
        lines.append(f'trusted_addresses = ["{v4(number)}", "{v6(number)}"]')
    if options.sip_route != "dns":
        port = PORTS[options.sip_route]
        lines.append(f'next_hop = "sip:{v4(number)}:{port};transport={options.sip_route}"')
    habits = list(HABITS[options.im])
    if options.long_texts != "refuse":
        habits.append(f'long_messages = "{options.long_texts}"')
    if options.msrp_tls != "auto":
        habits.append(f'msrp_tls = "{options.msrp_tls}"')
    return [*lines, "[sip.domain.behaviour]", *habits] if habits else lines
