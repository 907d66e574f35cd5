"""The ids of leases: UUIDs of version 7 (RFC 9562), which Python 3.11 cannot make yet."""

import os

# Of the 80 bits behind the time: version 7, variant 0b10, and what chance fills.
_VERSION_AND_VARIANT = 0x7000_8000_0000_0000_0000
_RANDOM_BITS = 0x0FFF_3FFF_FFFF_FFFF_FFFF
_RANDOM_BYTES = 10
# Chance for so many ids is taken from the kernel at once. Each time gives up the GIL, and whoever takes it meanwhile,
# the ledger's writer, keeps it for as long as a call takes and longer.
_AT_ONCE = 256


class LeaseIds:
    """Makes ids, each once. Not to be shared with a process that was forked: it would make the same."""

    def __init__(self) -> None:
        self._chance = b""
        self._next = 0

    def new(self, now: float) -> str:
        """Returns an id made at `now` (Unix seconds): milliseconds, then random bits.

        Those of one time lie together in the ledger's index; random ones would each touch a page of their own.
        """
        if self._next == len(self._chance):
            self._chance, self._next = os.urandom(_RANDOM_BYTES * _AT_ONCE), 0
        following = self._next + _RANDOM_BYTES
        random = int.from_bytes(self._chance[self._next : following], "big")
        self._next = following
        digits = f"{int(now * 1000) << 80 | random & _RANDOM_BITS | _VERSION_AND_VARIANT:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
