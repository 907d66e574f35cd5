"""The processes of this machine, as /proc tells them (Linux)."""

import os
from collections.abc import Iterable
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Returns the running processes below `pid`, children's children too."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (parent := _parent(int(entry.name))):
            children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(pid, []))
    for child in found:  # Grows while it is walked.
        found.extend(children.get(child, []))
    return found


def mentioning(text: str | Path) -> list[int]:
    """Returns the running processes that have `text` in their command line, this one aside."""
    return [pid for pid in all_processes() if str(text).encode() in read_process(pid, "cmdline") and pid != os.getpid()]


def all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def read_process(pid: int, file: str) -> bytes:
    """Returns a file of /proc/PID; empty when the process is gone, or not ours to look at."""
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return b""


def held_in_memory(pid: int, needles: Iterable[bytes]) -> set[bytes]:
    """Returns what of `needles` the process has in its memory, wherever it may write."""
    found: set[bytes] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in read_process(pid, "maps").splitlines():
            where, rights, *_ = line.split()
            if not rights.startswith(b"rw"):
                continue
            start, end = (int(part, 16) for part in where.split(b"-"))
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:  # a device's, or gone meanwhile
                continue
            found |= {needle for needle in needles if needle not in found and needle in content}
    return found


def alive(pids: Iterable[int]) -> list[int]:
    """Returns those that run; one that has ended and waits to be reaped does not."""
    return [pid for pid in pids if _parent(pid)]


def _parent(pid: int) -> int:
    """Returns the parent of a running process, 0 where there is no such one."""
    fields = read_process(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[0] not in (b"Z", b"X") else 0
