"""The lab's hosts: one network namespace each, on one bridge that has a namespace of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.commands import LabError, run

NETNS_ETC = Path("/etc/netns")
CLONE_NEWNET = 0x40000000
ROUTER = 254  # an address that nobody has: a default route to nowhere


@dataclass(frozen=True)
class Host:
    """A machine of the lab: `name` within the lab, `number` in both of its networks."""

    name: str
    number: int
    extra: tuple[int, ...] = ()

    @property
    def v4(self) -> str:
        return v4(self.number)

    @property
    def v6(self) -> str:
        return v6(self.number)


def v4(number: int) -> str:
    return f"10.9.0.{number}"


def v6(number: int) -> str:
    return f"fd09::{number:x}"


DNS = Host("dns", 1)
GATEWAY = Host("gw", 2)
KAMAILIO = Host("kamailio", 3)
PROSODY = Host("prosody", 4)
EJABBERD = Host("ejabberd", 5)
USERS = Host("users", 10, extra=(20, 30))
HOSTS = (DNS, GATEWAY, KAMAILIO, PROSODY, EJABBERD, USERS)
UA_SERVER = 20  # the scripted user agents that are a whole SIP domain live at this address
EDGE = 30  # the stand-in for OCS: its home server and its Edge
DEAD = 99  # in the same network, but nobody is there


class Network:
    """All namespaces of one lab. Names carry a prefix, so several labs can run side by side."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.switch = f"{prefix}-net"

    def namespace(self, host: Host) -> str:
        return f"{self.prefix}-{host.name}"

    def up(self) -> None:
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "name", "br0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for host in HOSTS:
            self._add(host)

    def _add(self, host: Host) -> None:
        name = self.namespace(host)
        etc = NETNS_ETC / name
        etc.mkdir(parents=True)
        (etc / "resolv.conf").write_text(f"nameserver {DNS.v4}\noptions timeout:1 attempts:2\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        run("ip", "netns", "add", name)
        batch = ["link set lo up",
                 f"link add name eth0 type veth peer name {host.name} netns {self.switch}",
                 "link set eth0 up"]
        for number in (host.number, *host.extra):
            batch.append(f"addr add {v4(number)}/24 dev eth0")
            batch.append(f"addr add {v6(number)}/64 dev eth0 nodad")
        batch.append(f"route add default via {v4(ROUTER)}")
        batch.append(f"-6 route add default via {v6(ROUTER)}")
        self._ip(name, batch)
        run("ip", "-n", self.switch, "link", "set", host.name, "master", "br0", "up")

    @staticmethod
    def _ip(namespace: str, batch: list[str]) -> None:
        four = [line for line in batch if not line.startswith("-6 ")]
        six = [line[3:] for line in batch if line.startswith("-6 ")]
        run("ip", "-n", namespace, "-batch", "-", stdin="\n".join(four) + "\n")
        run("ip", "-n", namespace, "-6", "-batch", "-", stdin="\n".join(six) + "\n")

    def down(self) -> None:
        for name in (self.switch, *(self.namespace(host) for host in HOSTS)):
            if Path("/run/netns", name).exists():
                run("ip", "netns", "del", name)
            shutil.rmtree(NETNS_ETC / name, ignore_errors=True)

    def exec(self, host: Host, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(host), *words]

    def cable(self, host: Host, plugged: bool) -> None:
        """Pull or plug the host's cable at the switch (its addresses stay)."""
        run("ip", "-n", self.switch, "link", "set", host.name, "up" if plugged else "down")

    def cut(self, host: Host, port: int) -> None:
        """End, with a reset, every TCP connection of the host to or from this port."""
        for side in ("sport", "dport"):
            run("ip", "netns", "exec", self.namespace(host), "ss", "-K", "-H", "-t", side, "=", f":{port}")

    def enter(self, host: Host) -> None:
        """Move this thread's new sockets (and those of threads started later) to the host."""
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(f"/run/netns/{self.namespace(host)}", os.O_RDONLY)
        try:
            if libc.setns(handle, CLONE_NEWNET) != 0:
                raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(handle)
