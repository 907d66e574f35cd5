"""Finds, among any number of patterns, those whose ends stand around a name, without looking at the others."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

Around = tuple[str, str]
"""What stands before the first and after the last `*` of a pattern."""

_SEGMENT_START = re.compile(r"^|(?<=[/:#])")


class AffixIndex:
    """The ends of patterns. Looking up costs as much as the name has segments, however many patterns there are.

    A `*` stays inside one segment, so what is before it ends where a segment of the name begins, or a little further
    on. Only for those beginnings that fit are lengths tried, and only those that occur there.
    """

    def __init__(self) -> None:
        self._into: dict[str, Counter[int]] = defaultdict(Counter)  # segment's start → how far heads reach into it
        self._tails: dict[str, Counter[int]] = defaultdict(Counter)  # head → lengths of the tails behind it

    def add(self, around: Around) -> None:
        """Adds the ends of a pattern; the same ones may be added several times."""
        head, tail = around
        start = _start_of_segment(head)
        self._into[head[:start]][len(head) - start] += 1
        self._tails[head][len(tail)] += 1

    def remove(self, around: Around) -> None:
        """Takes the ends of a pattern away once."""
        head, tail = around
        start = _start_of_segment(head)
        _take_one(self._into, head[:start], len(head) - start)
        _take_one(self._tails, head, len(tail))

    def of(self, name: str) -> Iterator[Around]:
        """Gives what stands around a `*` that `name` could fit; whether that was added, and what fits, is not said."""
        if not self._tails:
            return
        length = len(name)
        for match in _SEGMENT_START.finditer(name):
            start = match.start()
            for further in self._into.get(name[:start], ()):
                head = name[: start + further]
                for tail in self._tails.get(head, ()):
                    if length > len(head) + tail:  # The `*` stands for one character at least.
                        yield head, name[length - tail :]


def _start_of_segment(head: str) -> int:
    return max(head.rfind(separator) for separator in "/:#") + 1


def _take_one(counters: dict[str, Counter[int]], key: str, length: int) -> None:
    counters[key][length] -= 1
    if not counters[key][length]:
        del counters[key][length]
    if not counters[key]:
        del counters[key]
