"""A cache that forgets what was used longest ago."""

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Bounded(Generic[V]):
    """At most `limit` values by digest. For one event loop; not for threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def get(self, digest: bytes) -> V | None:
        """Returns what is kept, and counts that as a use."""
        value = self._values.get(digest)
        if value is not None:
            self._values.move_to_end(digest)
        return value

    def put(self, digest: bytes, value: V) -> None:
        """Keeps `value`; where there is no room, what was used longest ago goes."""
        self._values[digest] = value
        self._values.move_to_end(digest)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        """Forgets a value; unknown ones are passed over."""
        self._values.pop(digest, None)

    def __len__(self) -> int:
        return len(self._values)
