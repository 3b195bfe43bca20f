"""The whole world: network, names, certificates and peers, brought up once for a run."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from pathlib import Path

from lab import peers, sipe
from lab.certificates import Authority
from lab.commands import LabError, Service
from lab.hosts import EJABBERD, KAMAILIO, PROSODY, USERS, Host, Network

START_LIMIT = 30.0
READY = {"prosody": [(PROSODY.v4, 5222), (PROSODY.v4, 5269), (PROSODY.v6, 5269)],
         "ejabberd": [(EJABBERD.v4, 5222), (EJABBERD.v4, 5269)],
         "kamailio": [(KAMAILIO.v4, 5060), (KAMAILIO.v4, 5061)]}
PEER_HOSTS: dict[str, Host] = {"prosody": PROSODY, "ejabberd": EJABBERD, "kamailio": KAMAILIO}


class World:
    """Use as a context: inside it, this process's sockets are on the users' host."""

    def __init__(self, prefix: str, logs: Path | None = None) -> None:
        self.logs = logs
        self.network = Network(prefix)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
        self.folder.chmod(0o755)
        self.authority = Authority(self.folder / "certificates")
        self.services: dict[str, Service] = {}
        self._sipe: Path | None = None

    def __enter__(self) -> World:
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def _up(self) -> None:
        self.network.up()
        self.authority.make()
        self.services = {
            "dns": peers.dnsmasq(self.network, self.folder / "dns"),
            "ejabberd": peers.ejabberd(self.network, self.folder / "ejabberd", self.authority),
            "prosody": peers.prosody(self.network, self.folder / "prosody", self.authority),
            "kamailio": peers.kamailio(self.network, self.folder / "kamailio", self.authority),
        }
        for service in self.services.values():
            service.start()
        self.network.enter(USERS)
        for name in READY:
            self.wait_ready(name)

    def sipe_client(self) -> Path:
        """pidgin-sipe's host program, compiled when it is first wanted."""
        if self._sipe is None:
            self._sipe = sipe.build(self.folder)
        return self._sipe

    def wait_ready(self, name: str) -> None:
        """Until the peer accepts connections on its ports. Raises LabError when it does not come up."""
        limit = time.monotonic() + START_LIMIT
        for address in READY[name]:
            while not connects(address):
                if time.monotonic() > limit or not self.services[name].running():
                    tail = "\n".join(self.services[name].tail())
                    raise LabError(f"{name} does not listen on {address[0]} port {address[1]}\n{tail}")
                time.sleep(0.05)

    def down(self) -> None:
        for service in reversed(self.services.values()):
            service.stop(grace=0.5)
        self.network.down()
        if self.logs is not None:
            skip = shutil.ignore_patterns("*.sock", "*.key")
            shutil.copytree(self.folder, self.logs, dirs_exist_ok=True, ignore=skip)
        shutil.rmtree(self.folder, ignore_errors=True)


def connects(address: tuple[str, int], timeout: float = 0.5) -> bool:
    try:
        with socket.create_connection(address, timeout):
            return True
    except OSError:
        return False
