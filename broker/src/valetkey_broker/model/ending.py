"""What ends, and when."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class EndingKind(Enum):
    """What an end is of; the value is the word for people and metrics."""

    CONNECTOR = "connector"
    SECRET = "secret"  # noqa: S105 (a word)
    API_KEY = "api-key"
    SERVER_CERTIFICATE = "server-certificate"
    TRUST_BUNDLE = "trust-bundle"
    VAULT_SECRET_ID = "vault-secret-id"  # noqa: S105 (as above)


@dataclass(frozen=True, slots=True)
class Ending:
    """One thing that ends; `ends_at` is None where nobody knows when. `known_by` says who does, or why nobody.

    `mend` is the command that mends it, or what to do where no command does. It counts as ended `margin` earlier. Where
    it was `not_looked_at`, for it could not be just now, it may end at any time, or have ended.
    """

    kind: EndingKind
    name: str
    ends_at: datetime | None
    known_by: str
    mend: str
    margin: timedelta = timedelta()
    not_looked_at: bool = False

    def ends_before(self, moment: datetime) -> bool:
        """Tells whether it counts as ended by then; never where nobody knows."""
        return self.ends_at is not None and self.ends_at - self.margin <= moment


def values(endings: Iterable[Ending]) -> Iterator[tuple[str, str, float]]:
    """Gives kind, name and end (Unix seconds) of each whose end is known: what metrics show."""
    for each in endings:
        if each.ends_at is not None:
            yield each.kind.value, each.name, each.ends_at.timestamp()
