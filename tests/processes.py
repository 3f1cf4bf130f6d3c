"""Processes of this machine."""

import os
from collections.abc import Iterator
from pathlib import Path


def processes() -> dict[int, tuple[int, str]]:
    """pid -> (parent, command line) of all processes."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found[int(entry.name)] = (parent, (entry / "cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def children(mark: str, of: int | None = None) -> set[int]:
    """Those that a process, by default this one, has started itself and that have ``mark`` in their command lines."""
    of = os.getpid() if of is None else of
    return {pid for pid, (parent, command) in processes().items() if parent == of and mark in command}


def descendants(root: int) -> Iterator[tuple[int, str]]:
    table = processes()
    for pid, (_, command) in table.items():
        at = pid
        while at in table and at != root:
            at = table[at][0]
        if at == root and pid != root:
            yield pid, command
