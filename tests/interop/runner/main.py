"""The command: set the world up, run the cases, sum up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import multiprocessing
import os
import signal
import sys
import time
import unittest
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Lock
from pathlib import Path

from agents.inbox import Missed
from lab.commands import LabError
from lab.hosts import HOSTS
from lab.names import EJABBERD_DOMAINS, KAMAILIO_DOMAINS, PROSODY_DOMAINS
from lab.world import World
from runner.case import BadCase, Case, all_names, load
from runner.stage import Stage
from runner.verbs import perform
from runner.words import BadStep
from subjects import Subject, chosen
from subjects.options import Options

LOG_LINES = 25
ROOT = Path(__file__).parent.parent


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        names = _select(arguments.case)
        cases = [load(name) for name in names]
        _prove_strict_peers()
        if arguments.lab:
            with World(f"sx{os.getpid()}", arguments.logs) as world:
                return _keep(world)
        ran, failed = _run_all(cases, arguments)
        if failed and arguments.again:
            print(f"--- {len(failed)} failed; once more, in a fresh world", flush=True)
            _, failed_again = _run_all(failed, arguments)
            for case in failed:
                if case not in failed_again:
                    print(f"UNSTABLE {case.name}: it passed at the second run only", flush=True)
            failed = failed_again
        print(f"{ran - len(failed)} passed, {len(failed)} failed", flush=True)
        return 1 if failed or not ran else 0
    except (LabError, BadCase) as error:
        print(f"interop: {error}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/interop/run", description="Run interop cases against a gateway.")
    parser.add_argument("case", nargs="*", help="names or their beginnings (01, 07-tls); default: all")
    parser.add_argument("--again", action="store_true",
                        help="run failed cases once more in a fresh world, and name those that pass then")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run cases in N worlds at one time")
    parser.add_argument("--lab", action="store_true", help="bring the world and the gateway up and keep them")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="copy all logs and configurations there at the end")
    parser.add_argument("--verbose", "-v", action="store_true", help="draw the ladders of passed cases too")
    return parser.parse_args()


def _prove_strict_peers() -> None:
    """The unit tests of those parts of the lab that judge the gateway. Raises LabError."""
    suite = unittest.defaultTestLoader.discover(str(ROOT / "msrp" / "tests"), top_level_dir=str(ROOT))
    report = io.StringIO()
    result = unittest.TextTestRunner(report).run(suite)
    if not result.wasSuccessful() or not result.testsRun:
        raise LabError(f"the lab's own tests fail:\n{report.getvalue()}")


def _select(wanted: list[str]) -> list[str]:
    names = all_names()
    chosen_names = [name for name in names if not wanted or any(name.startswith(start) for start in wanted)]
    for start in wanted:
        if not any(name.startswith(start) for name in names):
            raise BadCase(f"no case begins with {start}")
    return chosen_names


def _run_all(cases: list[Case], arguments: argparse.Namespace) -> tuple[int, list[Case]]:
    """Run the cases in worlds of their own, side by side; return how many ran, and which failed. Raises LabError."""
    context = multiprocessing.get_context("fork")
    waiting, done, output = context.SimpleQueue(), context.SimpleQueue(), context.Lock()
    crew = []
    for number in range(max(1, min(arguments.jobs, len(cases)))):
        worker = context.Process(target=_work, args=(number, waiting, done, output, arguments), daemon=True)
        worker.start()
        crew.append(worker)
    for case in cases:
        waiting.put(case.name)
    for _ in crew:
        waiting.put(None)
    for worker in crew:
        worker.join()
    if any(worker.exitcode for worker in crew):
        raise LabError("a world could not be built or broke down; see above")
    results = {}
    while not done.empty():
        name, passed = done.get()
        results[name] = passed
    return len(results), [case for case in cases if not results.get(case.name, True)]


def _work(number: int, waiting: SimpleQueue[str | None], done: SimpleQueue[tuple[str, bool]], output: Lock,
          arguments: argparse.Namespace) -> None:
    """One world, and the cases that it takes from the queue until there are no more."""
    started = time.monotonic()
    logs = arguments.logs and arguments.logs / str(number)
    try:
        with World(f"sx{os.getpid()}", logs) as world:
            with output:
                print(f"world up in {time.monotonic() - started:.1f} s", flush=True)
            subject = chosen(world)
            while (name := waiting.get()) is not None:
                case = load(name)
                if subject is None and case.needs_gateway:
                    continue
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    passed = _run_one(case, world, subject, arguments.verbose)
                with output:
                    print(said.getvalue(), end="", flush=True)
                done.put((name, passed))
    except LabError as error:
        sys.exit(f"interop: {error}")


def _run_one(case: Case, world: World, subject: Subject | None, verbose: bool) -> bool:
    started = time.monotonic()
    stage = Stage(case, world, subject, world.folder / "cases" / case.name)
    why = asyncio.run(_play(stage))
    word = "FAILED" if why else "ok"
    print(f"{word:6} {case.name:32} {time.monotonic() - started:6.1f} s  {case.title}", flush=True)
    for remark in stage.remarks:
        print(f"         {remark}")
    if why:
        print(f"         {why}")
    if why or verbose:
        _show(stage, world)
    return not why


async def _play(stage: Stage) -> str:
    """Run one case; return why it failed, or ""."""
    line = "(getting ready)"
    try:
        async with asyncio.timeout(stage.case.seconds):
            async with stage:
                for step in stage.case.steps:
                    line = step.line
                    await perform(stage, step)
                line = "(the end)"
                await stage.settle()
                stage.check_nothing_left()
    except (Missed, BadStep, LabError, RuntimeError) as error:
        return f"{line}\n         {error}"
    except TimeoutError:
        return f"{line}\n         the case took longer than {stage.case.seconds:g} s"
    return ""


def _show(stage: Stage, world: World) -> None:
    for side, ladder in stage.ladders.items():
        print(f"  --- {side} side\n{ladder.draw()}")
    for name, service in world.services.items():
        if name != "dns":
            print(f"  --- {name}'s log\n" + "\n".join(f"  {line[:300]}" for line in service.tail(LOG_LINES)))
    if stage.subject is not None:
        print("  --- gateway's log\n" + "\n".join(f"  {line[:400]}" for line in stage.subject.tail()), flush=True)


def _keep(world: World) -> int:
    """Say what there is and wait for Ctrl-C."""
    print("hosts:")
    for host in HOSTS:
        print(f"  {world.network.namespace(host):20} {host.v4:12} {host.v6}")
    print(f"XMPP domains on prosody:  {' '.join(PROSODY_DOMAINS)}\n"
          f"XMPP domains on ejabberd: {' '.join(EJABBERD_DOMAINS)}"
          "\n  (any account: register in-band, without TLS, on port 5222)")
    print(f"SIP domains on kamailio:  {' '.join(KAMAILIO_DOMAINS)}\n  (any account: just REGISTER, no password)")
    print(f"certificates, configurations and logs: {world.folder}")
    print(f"enter a host: ip netns exec {world.network.namespace(HOSTS[1])} bash\nCtrl-C ends the lab", flush=True)
    subject = chosen(world)
    stage_folder = Path(world.folder, "cases", "lab")
    if subject is not None:
        stage_folder.mkdir(parents=True)
        subject.start(Options(), stage_folder)
        print(f"gateway {subject.name} is up", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        if subject is not None:
            subject.stop()
    return 0
