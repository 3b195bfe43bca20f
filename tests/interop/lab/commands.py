"""Running the system's commands, and processes that the lab keeps and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


class LabError(Exception):
    """The lab itself could not be built or run; no case is to blame."""


def run(*words: str, stdin: str | None = None) -> str:
    """Run one command to its end and return what it printed."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Service:
    """One process of the lab in its own session, with its output in a file."""

    def __init__(self, name: str, command: list[str], log: Path, cwd: Path | None = None,
                 env: dict[str, str] | None = None) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.cwd = cwd
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self._marked = 0

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                cwd=self.cwd, env=self.env, start_new_session=True)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole process group (ip netns exec replaces itself, su does not)."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, grace: float = 5.0) -> int | None:
        """End the process politely, then by force; return its exit code."""
        if self.process is None:
            return None
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End the process group at once (SIGKILL)."""
        if self.process is None:
            return
        self.signal(signal.SIGKILL)
        self.process.wait()

    def mark(self) -> None:
        """What is in the log so far belongs to earlier cases."""
        self._marked = self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines: int = 25) -> list[str]:
        """The log's last lines since the mark."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._marked)
            return log.read().decode(errors="replace").splitlines()[-lines:]
