"""A case on disk: `case.toml` in a folder of its own, data only."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from lab.names import FAULTS, KAMAILIO_DOMAINS, OCS_DOMAINS, UA_DOMAINS, XMPP_DOMAINS
from msrp import settings as msrp_settings
from msrp.settings import Settings as MsrpSettings
from ocs import settings
from ocs.settings import Settings
from subjects import options
from subjects.options import Options

CASES = Path(__file__).parent.parent / "cases"


class BadCase(Exception):
    """The case file itself is wrong."""


@dataclass(frozen=True)
class User:
    """Somebody in a case. `kind` follows from the domain: xmpp, registered (kamailio), server (ua.test), sipe
    (corp.test) or nobody; with `client` it is client.

    `of` in the case file: another device of an XMPP user named above, instead of a domain.
    exists: false for an account that is never made. online: false for one that does not log in by itself.
    transport: a SIP user's way to its next hop. certificate: what a SIP user shows on TLS (`none` for nothing).
    demand_certificate: a SIP server that wants the gateway's certificate (mutual TLS).
    direct: a SIP user that goes to the gateway itself instead of its registrar.
    partner: `edge` for a SIP user with a domain that is the partner of the stand-in for OCS, and talks in sessions.
    client: a program of `runner/clients.py` instead of a scripted user.
    msrp: settings (msrp/settings.py) of a SIP user that talks in MSRP sessions; `{}` for the usual ones.
    mode: how old the server is that a pidgin-sipe user finds, 2007 or 2005. password: what that user believes it is.
    """

    name: str
    address: str
    exists: bool = True
    online: bool = True
    transport: str = "udp"
    certificate: str = "ua"
    demand_certificate: bool = False
    direct: bool = False
    partner: str = "gateway"
    client: str = ""
    msrp: MsrpSettings | None = None
    mode: int = 2007
    password: str = "secret"

    @property
    def domain(self) -> str:
        return self.address.partition("@")[2]

    @property
    def kind(self) -> str:
        if not self.exists:
            return "nobody"
        if self.client:
            return "client"
        if self.domain in XMPP_DOMAINS:
            return "xmpp"
        if self.domain in KAMAILIO_DOMAINS:
            return "registered"
        if self.domain in OCS_DOMAINS:
            return "sipe"
        return "server" if self.domain in UA_DOMAINS else "nobody"


@dataclass(frozen=True)
class Step:
    """One line: who does or sees what. `within` is its deadline in seconds."""

    line: str
    actor: str
    words: list[str]
    within: float


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    needs_gateway: bool
    users: dict[str, User]
    gateway: Options
    edge: Settings
    steps: list[Step]
    seconds: float = field(default=60.0)


def all_names() -> list[str]:
    names = (path.parent.name for path in CASES.glob("*/case.toml"))
    return sorted(names, key=lambda name: (int(name.partition("-")[0]), name))


def load(name: str) -> Case:
    """Read one case. Raises BadCase."""
    try:
        data = tomllib.loads(_each_fault((CASES / name / "case.toml").read_text()))
        suffix = name.partition("-")[0]
        users: dict[str, User] = {}
        for label, entry in data["users"].items():
            users[label] = _user(label, suffix, entry, users)
        limit = float(data.get("within", 15))
        steps = [_step(line, limit) for line in data["steps"].splitlines() if line.split("#")[0].strip()]
        return Case(name, data["title"], data.get("needs_gateway", True), users,
                    options.read(data.get("gateway", {})), settings.read(data.get("edge", {})), steps,
                    float(data.get("seconds", 60)))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadCase(f"{name}: {error!r}") from error


def _each_fault(text: str) -> str:
    """The text with each line that says `{fault}` once for each of them."""
    return "\n".join(line.replace("{fault}", fault) for line in text.split("\n")
                     for fault in (FAULTS if "{fault}" in line else ("",)))


def _user(label: str, suffix: str, entry: str | dict[str, object], others: dict[str, User]) -> User:
    details = {"domain": entry} if isinstance(entry, str) else dict(entry)
    owner = details.pop("of", None)
    if "msrp" in details:
        details["msrp"] = msrp_settings.read(details["msrp"])
    address = others[str(owner)].address if owner else f"{label}-{suffix}@{details.pop('domain')}"
    return User(label, address, **details)


def _step(line: str, limit: float) -> Step:
    words = [word.replace("\\n", "\n") for word in shlex.split(line, comments=True)]
    if not words or not words[0].endswith(":") or len(words) < 2:
        raise ValueError(f"a step is `WHO: VERB …`, not {line!r}")
    within = limit
    if len(words) > 3 and words[-2] == "within":
        within = float(words[-1].removesuffix("s"))
        words = words[:-2]
    if len(words) > 3 and words[-2] == "times":  # a long text
        words = [*words[:-3], words[-3] * int(words[-1])]
    return Step(line.strip(), words[0][:-1], words[1:], within)
