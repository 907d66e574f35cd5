"""The processes of this machine, as /proc tells them (Linux)."""

import itertools
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_PAGE = os.sysconf("SC_PAGE_SIZE")
# Source: Documentation/admin-guide/mm/pagemap.rst of Linux, bits 63 and 62.
_PRESENT_OR_SWAPPED = 3 << 62


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
    missing = set(needles)
    found: set[bytes] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory, Path(f"/proc/{pid}/pagemap").open("rb") as pages:
        for line in read_process(pid, "maps").splitlines():
            where, rights, *_ = line.split()
            if not rights.startswith(b"rw"):
                continue
            start, end = (int(part, 16) for part in where.split(b"-"))
            try:
                for first, last in _in_use(pages, start, end):
                    memory.seek(first)
                    content = memory.read(last - first)
                    found |= {needle for needle in missing if needle in content}
            except OSError:  # a device's, or gone meanwhile
                continue
            missing -= found
    return found


def _in_use(pages: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the parts of a stretch of memory that were ever written: most of it is reserved only."""
    pages.seek(start // _PAGE * 8)
    flags = array("Q", pages.read((end - start) // _PAGE * 8))
    for used, run in itertools.groupby(enumerate(flags), lambda page: bool(page[1] & _PRESENT_OR_SWAPPED)):
        numbers = [number for number, _ in run]
        if used:
            yield start + numbers[0] * _PAGE, start + (numbers[-1] + 1) * _PAGE


def alive(pids: Iterable[int]) -> list[int]:
    """Returns those that run; one that has ended and waits to be reaped does not."""
    return [pid for pid in pids if _parent(pid)]


def _parent(pid: int) -> int:
    """Returns the parent of a running process, 0 where there is no such one."""
    fields = read_process(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[0] not in (b"Z", b"X") else 0
