"""The `generation` entry: a counter, a short journal of what changed, and the changes under way.

Replicas poll this one entry only. See docs/adr for why intents are kept in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from valetkey_broker.ports import StateStore
from valetkey_broker.state.intent import Intent, encode_intent
from valetkey_broker.state.read_for_check_and_set import read_for_cas

PATH = "generation"
JOURNAL_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Generation:
    """The counter and the journal: (counter after the change, path that changed), oldest first.

    `intents` holds the changes under way by id, as they are stored: those of a newer version must survive being
    written back by this one.
    """

    counter: int
    journal: tuple[tuple[int, str], ...]
    intents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def since(self, seen: int) -> set[str] | None:
        """Returns the paths changed after `seen`, or None where the journal does not reach back that far."""
        if self.counter < seen:
            return None  # The store was restored from a backup: only a full reading is right.
        changed = [(number, path) for number, path in self.journal if number > seen]
        return {path for _, path in changed} if len(changed) == self.counter - seen else None

    def being_changed(self) -> set[str]:
        """Returns the paths of the changes under way: whoever makes one may die before saying that it is made."""
        return {path for raw in self.intents.values() for path in _paths(raw)}

    def announcing(self, *paths: str) -> "Generation":
        """Returns the generation after `paths` changed."""
        news = tuple(enumerate(paths, start=self.counter + 1))
        return replace(self, counter=self.counter + len(news), journal=(*self.journal, *news)[-JOURNAL_LENGTH:])

    def opening(self, intent: Intent) -> "Generation":
        """Returns the generation with an intent, new or as it is now."""
        return replace(self, intents={**self.intents, intent.id: encode_intent(intent)})

    def closing(self, intent_id: str) -> "Generation":
        """Returns the generation without an intent."""
        return replace(self, intents={key: raw for key, raw in self.intents.items() if key != intent_id})

    def document(self) -> dict[str, Any]:
        """Returns what Vault keeps."""
        return {
            "counter": self.counter,
            "journal": [list(entry) for entry in self.journal],
            "intents": {key: dict(raw) for key, raw in self.intents.items()},
        }


NONE = Generation(0, ())


def _paths(raw: Mapping[str, Any]) -> list[str]:
    """Returns the paths of an intent as it is stored, be it of a newer version or edited by hand."""
    also = raw.get("also")
    return [path for path in (raw.get("path"), *(also if isinstance(also, list) else ())) if isinstance(path, str)]


async def read_generation(store: StateStore) -> tuple[Generation, int]:
    """Returns the generation and the version of its document (0 where nobody has written it yet)."""
    document, version = await read_for_cas(store, PATH)
    if document is None:
        return NONE, version
    intents = document.data.get("intents")
    under_way = {str(k): v for k, v in intents.items() if isinstance(v, dict)} if isinstance(intents, dict) else {}
    try:
        journal = tuple((int(number), str(path)) for number, path in document.data.get("journal", ()))
        return Generation(int(document.data["counter"]), journal, under_way), document.version
    except (KeyError, TypeError, ValueError):
        # Edited by hand. Counting anew mends it: a counter that went backwards makes every replica read everything.
        return replace(NONE, intents=under_way), document.version
