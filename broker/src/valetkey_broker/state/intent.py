"""What a change is about to do, written down before it does anything, so that another replica can finish or undo it."""

import contextvars
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

FORM = 1
"""The form of intents that this version writes; intents of a newer one are left to brokers that know it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The call that a change was made for, and what it changes, as the ledger has them."""

    request_id: str = ""
    method: str = ""
    principal: str = ""
    object: str = ""


_NOBODY = Origin()
ORIGIN: contextvars.ContextVar[Origin] = contextvars.ContextVar("origin", default=_NOBODY)
"""For which call the current task makes changes."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A change under way: it writes the version after `expected` at `path`, and whatever else its kind says.

    `details` hold what finishing takes, and never a secret. `holder` is the process that works on it, `beat` what that
    process counts up to show that it lives. `also` are the paths, beside its own, that the change writes or relies on.
    Only one intent at a time is open for a path, whichever of them it is.
    """

    id: str
    kind: str
    path: str
    expected: int
    holder: str = ""
    beat: int = 0
    origin: Origin = _NOBODY
    details: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    form: int = FORM

    @property
    def recorded_as(self) -> str:
        """What the ledger has as the object of the change; of a secret that is renamed that is its old name."""
        return self.origin.object if self.origin.object in self.paths else self.path

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that nobody else changes while the intent is open."""
        return (self.path, *self.also)

    def held_by(self, holder: str) -> "Intent":
        """Returns the intent in the hands of another process."""
        return replace(self, holder=holder, beat=0)

    def beating(self) -> "Intent":
        """Returns the intent with one more sign of life."""
        return replace(self, beat=self.beat + 1)

    def stamped(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a document with the mark by which `wrote` knows it again."""
        return {**data, STAMP: self.id}

    def wrote(self, data: Mapping[str, Any]) -> bool:
        """Tells whether this change wrote a document."""
        return data.get(STAMP) == self.id


STAMP = "change"
"""The field of a document that names the change which wrote it."""


def encode_intent(intent: Intent) -> dict[str, Any]:
    """Returns the intent just as it comes back from Vault: others look at it before that, in the same write."""
    data = asdict(intent)
    # Earlier versions take an origin with another field for malformed.
    changed = data["origin"].pop("object")
    return {**data, "object": changed, "details": dict(intent.details), "also": list(intent.also)}


def decode_intent(data: Mapping[str, Any]) -> Intent:
    """Returns an intent. Raises KeyError, TypeError or ValueError where it is malformed."""
    return Intent(
        id=str(data["id"]),
        kind=str(data["kind"]),
        path=str(data["path"]),
        expected=int(data["expected"]),
        holder=str(data["holder"]),
        beat=int(data["beat"]),
        origin=Origin(**data["origin"], object=str(data.get("object", ""))),  # Those of earlier versions have none.
        details=dict(data["details"]),
        also=tuple(str(path) for path in data.get("also", ())),
        form=int(data["form"]),
    )
