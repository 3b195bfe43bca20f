"""The program that runs pidgin-sipe without windows: one C file, compiled against Debian's libpurple."""

from __future__ import annotations

from pathlib import Path

from lab.commands import run

SOURCE = Path(__file__).parent / "pidgin" / "client.c"
INCLUDES = ("/usr/include/libpurple", "/usr/include/glib-2.0", "/usr/lib/x86_64-linux-gnu/glib-2.0/include",
            "/usr/include/libxml2")
# -rdynamic: the program's own xmlSAXUserParseMemory must be the one that pidgin-sipe finds.
FLAGS = ("-O1", "-Wall", "-Wextra", "-Werror", "-rdynamic")
LIBRARIES = ("-lpurple", "-lglib-2.0", "-lxml2", "-ldl")


def build(folder: Path) -> Path:
    """Compile it into the folder. Raises LabError."""
    program = folder / "sipe-client"
    run("cc", *FLAGS, *(f"-I{path}" for path in INCLUDES), str(SOURCE), "-o", str(program), *LIBRARIES)
    return program
