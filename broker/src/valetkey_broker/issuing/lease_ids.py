"""The ids of leases: UUIDs of version 7 (RFC 9562), which Python 3.11 cannot make yet."""

import os

# So many are prepared at once. Each time the kernel is asked for chance, that gives up the GIL, and whoever takes it
# meanwhile, the ledger's writer, keeps it for as long as a call takes and longer.
_AT_ONCE = 256
_DIGITS = 20
# What two bits of chance make of the digit that begins with the variant, 0b10.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class LeaseIds:
    """Makes ids, each once. Not to be shared with a process that was forked: it would make the same."""

    def __init__(self) -> None:
        self._endings: list[str] = []

    def new(self, now: float, count: int) -> list[str]:
        """Returns `count` ids made at `now` (Unix seconds): milliseconds, then random bits.

        Those of one time lie together in the ledger's index; random ones would each touch a page of their own.
        """
        while len(self._endings) < count:
            self._endings += _random_endings()
        time = f"{int(now * 1000):012x}"
        begin = f"{time[:8]}-{time[8:]}"
        left = len(self._endings) - count
        endings, self._endings[left:] = self._endings[left:], ()
        return [begin + ending for ending in endings]


def _random_endings() -> list[str]:
    """Returns what comes behind the time in ids: version 7, the variant, and chance."""
    chance = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
    digits = (chance[at : at + _DIGITS] for at in range(0, len(chance), _DIGITS))
    return [f"-7{each[:3]}-{_VARIANT[each[3]]}{each[4:7]}-{each[7:19]}" for each in digits]
