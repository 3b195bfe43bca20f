"""The real clients that a user in a case may have, by name, and how each is started."""

from __future__ import annotations

import sys
from pathlib import Path

from lab import packages
from lab.hosts import PROSODY
from lab.world import World
from runner.case import User

PROGRAMS = Path(__file__).parent.parent / "clients"
SCRIPTED = ("linphone", "pjsip", "baresip", "profanity")
# baresip would take TLS, which its domain's records offer first; profanity asks for no records here.
SERVER = {"baresip": "sip.ocs.test", "profanity": PROSODY.v4}


def command(world: World, user: User, place: str, folder: Path, others: list[str]) -> list[str]:
    """The program and its arguments; `place` is the address and port that it has for itself.

    Raises LookupError for a client that nobody knows.
    """
    host, port = place.rsplit(":", 1)
    if user.client == "simple":
        return [str(world.sipe_client()), str(folder), user.address, "secret", "prpl-simple"]
    if user.client not in SCRIPTED:
        raise LookupError(f"no client {user.client}")
    contacts = others if user.client == "baresip" else []
    server = SERVER.get(user.client, user.domain)
    return [sys.executable, str(PROGRAMS / f"{user.client}.py"), user.address, server, host, port, str(folder),
            *contacts]


def environment() -> dict[str, str]:
    return {"PYTHONDONTWRITEBYTECODE": "1", "DBUS_SESSION_BUS_ADDRESS": "disabled:", "PURPLE_UNSAFE_DEBUG": "1",
            "PYTHONPATH": str(packages.PYTHON_PACKAGES)}
