"""Are the peers installed? As root, and where apt-get may, what is missing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from lab.commands import LabError, run

# what to look for: (the Debian package that has it)
PROGRAMS = {"prosody": "prosody", "erl": "ejabberd", "kamailio": "kamailio", "dnsmasq": "dnsmasq-base",
            "openssl": "openssl", "ip": "iproute2", "ss": "iproute2", "cc": "gcc",
            "baresip": "baresip-core", "profanity": "profanity"}
FILES = {"/usr/sbin/ejabberdctl": "ejabberd",
         "/usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so": "kamailio-tls-modules",
         "/usr/lib/x86_64-linux-gnu/kamailio/modules/presence.so": "kamailio-presence-modules",
         "/usr/lib/x86_64-linux-gnu/kamailio/modules/db_sqlite.so": "kamailio-sqlite-modules",
         "/usr/lib/purple-2/libsipe.so": "pidgin-sipe",
         "/usr/include/libpurple/purple.h": "libpurple-dev",
         "/usr/include/libxml2/libxml/parser.h": "libxml2-dev",
         "/usr/include/stdlib.h": "libc6-dev",
         "/usr/lib/x86_64-linux-gnu/liblinphone.so.10": "liblinphone10",
         "/usr/share/belr/grammars/identity_grammar": "linphone-common"}
MODULES = {"slixmpp": "python3-slixmpp"}
# What Debian does not have, from PyPI as it is built there: (the module that it brings).
WHEELS = {"pjsua2-python==2.15.1.post1": "pjsua2"}
PYTHON_PACKAGES = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "stoxgate-lab", "python")
POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """Debian packages that the lab needs and this machine lacks."""
    names = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    names += [package for path, package in FILES.items() if not Path(path).exists()]
    names += [package for module, package in MODULES.items() if find_spec(module) is None]
    return sorted(set(names))


def ensure() -> None:
    """Install what is missing, or say what to install.

    Raises LabError when the machine can't hold the lab.
    """
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces: run it as root (or in a user namespace that maps root)")
    _ensure_packages()
    _ensure_wheels()


def _ensure_wheels() -> None:
    """Into a folder of the lab's own, so that no Python of the machine is changed."""
    absent = [name for name, module in WHEELS.items() if not (PYTHON_PACKAGES / module).is_dir()]
    if not absent:
        return
    pip = shutil.which("pip3")
    if pip is None:
        _install(["python3-pip"])
        pip = shutil.which("pip3") or "pip3"
    print(f"installing {' '.join(absent)}", flush=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        run(pip, "install", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", version,
            "--target", str(PYTHON_PACKAGES), *absent)
    except (LabError, OSError) as error:
        raise LabError(f"put these into {PYTHON_PACKAGES} with pip first: {' '.join(absent)} ({error})") from error


def _ensure_packages() -> None:
    absent = missing()
    if not absent:
        return
    print(f"installing {' '.join(absent)}", flush=True)
    try:
        _install(absent)
    except (LabError, OSError) as error:
        raise LabError(f"install these Debian packages first: {' '.join(absent)} ({error})") from error
    still = missing()
    if still:
        raise LabError(f"install these Debian packages first: {' '.join(still)}")


def _install(packages: list[str]) -> None:
    """apt-get, with the packages' own services kept from starting."""
    guard = not POLICY.exists()
    if guard:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    command = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            run("apt-get", "update", "-qq")
            run(*command)
    finally:
        if guard:
            POLICY.unlink()
