"""Debian's baresip without sound: baresip.py USER REGISTRAR HOST PORT FOLDER CONTACT… (see lines.py).

It writes only to contacts it knows when it starts. Commands go to its ctrl_tcp at PORT + 5; texts that come are printed
by its menu. What became of a text it tells only when it failed.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from lines import Commands, bare, tell  # noqa: E402

START_LIMIT = 10.0
CONFIG = """sip_listen {host}:{port}
module_path /usr/lib/baresip/modules
module stdio.so
module account.so
module contact.so
module g711.so
module_app menu.so
module ctrl_tcp.so
ctrl_tcp_listen {host}:{control}
dns_server {nameserver}:53
"""
ACCOUNT = '<sip:{user}>;regint=600;answermode=manual;outbound="sip:{registrar};transport=udp"\n'
TEXT = re.compile(r'\r(sips?:\S+): "(.*?)"\n', re.DOTALL)


class Control:
    """The control connection: netstrings with JSON in them, one answer a command."""

    def __init__(self, host: str, port: int) -> None:
        limit = time.monotonic() + START_LIMIT
        while True:
            try:
                self.socket = socket.create_connection((host, port), 1)
                break
            except OSError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.05)
        self.socket.settimeout(START_LIMIT)
        self._rest = b""

    def ask(self, command: str, params: str = "") -> dict[str, object]:
        data = json.dumps({"command": command, "params": params}).encode()
        self.socket.sendall(b"%d:%s," % (len(data), data))
        while True:
            found = self._next()
            if "response" in found:
                return found

    def ready(self) -> None:
        """Read what baresip tells by itself, which is nothing of use."""
        self._next()

    def _whole(self) -> dict[str, object] | None:
        length, colon, rest = self._rest.partition(b":")
        if not colon or len(rest) <= int(length):
            return None
        self._rest = rest[int(length) + 1:]
        return json.loads(rest[:int(length)])

    def _next(self) -> dict[str, object]:
        while (found := self._whole()) is None:
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit("baresip has ended")
            self._rest += data
        return found


class Phone:
    """baresip as a child, its control connection and its printed texts."""

    def __init__(self, user: str, registrar: str, host: str, port: int, folder: Path, contacts: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        nameserver = re.search(r"nameserver (\S+)", Path("/etc/resolv.conf").read_text())
        (folder / "config").write_text(CONFIG.format(host=host, port=port, control=port + 5,
                                                     nameserver=nameserver[1] if nameserver else ""))
        (folder / "accounts").write_text(ACCOUNT.format(user=user, registrar=registrar))
        (folder / "contacts").write_text("".join(f'"{peer}" <sip:{peer}>\n' for peer in contacts))
        self.child = subprocess.Popen(["baresip", "-f", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
        self.control = Control(host, port + 5)
        self._printed = ""

    def run(self) -> None:
        """Until standard input ends or baresip does."""
        commands = Commands()
        self._until_registered()
        try:
            while commands.open:
                ready, _, _ = select.select([sys.stdin, self.control.socket, self.child.stdout], [], [])
                if self.control.socket in ready:
                    self.control.ready()
                if self.child.stdout in ready:
                    self._print(os.read(self.child.stdout.fileno(), 65536))
                for words in commands.within(0):
                    self._do(*words)
        finally:
            self.child.terminate()
            self.child.wait()

    def _until_registered(self) -> None:
        """By asking: it tells of nothing that happens before somebody is connected."""
        limit = time.monotonic() + START_LIMIT
        while "OK" not in str(self.control.ask("reginfo").get("data")):
            if time.monotonic() > limit:
                return
            time.sleep(0.05)
        tell("signed-on")

    def _print(self, data: bytes) -> None:
        if not data:
            raise SystemExit("baresip has ended")
        sys.stderr.write(data.decode(errors="replace"))
        self._printed += data.decode(errors="replace")
        while found := TEXT.search(self._printed):
            tell("message", bare(found[1]), found[2])
            self._printed = self._printed[found.end():]

    def _do(self, verb: str, peer: str = "", text: str = "") -> None:
        if verb == "send":
            self._turn_to(peer)
            self.control.ask("message", text)

    def _turn_to(self, peer: str) -> None:
        """Make the peer the current contact."""
        listed = str(self.control.ask("contacts").get("data"))
        if f"> {peer} " in listed:
            return
        for _ in range(listed.count("<sip:")):
            if f" {peer} <" in str(self.control.ask("contact_next").get("data")):
                return
        for _ in range(listed.count("<sip:")):
            if f" {peer} <" in str(self.control.ask("contact_prev").get("data")):
                return
        tell("notice", f"no contact {peer}")


if __name__ == "__main__":
    Phone(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]), sys.argv[6:]).run()
