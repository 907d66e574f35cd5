"""How records are chained: the canonical form of a record, and its hash over the one before it.

hash = SHA-256(previous hash, 32 bytes ‖ canonical form), where the canonical form is the JSON array, in ASCII and
without spaces, of "valetkey-ledger-1", the writer, the sequence, and every other column in the order of the table. The
first record of a writer follows `GENESIS`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from valetkey_broker.ledger.schema import COLUMNS, NUMBERS
from valetkey_broker.model import Event, EventKind, Head, StoredEvent
from valetkey_broker.observability.redaction import scrub

GENESIS = hashlib.sha256(b"valetkey-ledger-1").hexdigest()
Row = tuple[Any, ...]
"""The values of one record, in the order of `COLUMNS`."""

# A resource id has 1,200 characters at most and everything else far fewer, so only what nobody checked is cut.
MAX_CHARACTERS = 1500
_MAX_INTEGER = 2**63 - 1
_VERSION = "valetkey-ledger-1"
_PLACE = ("writer", "sequence", "previous_hash", "hash")
_FIELDS = COLUMNS[len(_PLACE) :]
_EVENT_FIELDS = [name for name in _FIELDS if name not in ("kind", "time_us", "account", "container")]
# What callers may have put into words of their own. People paste keys and SAS URLs where a name or a purpose belongs.
_FREE = ("request_id", "method", "object", "connector", "resource", "reason", "purpose")
_FREE_PLACES = tuple(name in _FREE for name in _EVENT_FIELDS)
_free_texts = attrgetter(*_FREE)
_RESOURCE = _EVENT_FIELDS.index("resource")
_values = attrgetter(*_EVENT_FIELDS)
_texts = attrgetter(*(name for name in _EVENT_FIELDS if name not in NUMBERS))
_encode = json.JSONEncoder(separators=(",", ":")).encode
# The canonical form of a record in which nothing needs escaping: what the encoder makes of it, in a fifth of the time.
_FORM = ",".join("%d" if name in NUMBERS else '"%s"' for name in ("writer", "sequence", *_FIELDS))
_PLAIN = f'["{_VERSION}",{_FORM}]'
_QUOTES = _PLAIN.count('"')


def extend(head: Head, events: Iterable[Event]) -> tuple[list[Row], Head]:
    """Returns the rows that record `events` after `head`, and the head after them."""
    writer, sequence, previous = head.writer, head.sequence, head.hash
    rows: list[Row] = []
    for event in events:
        sequence += 1
        fields = _fields(event, _values(event))
        canonical = _PLAIN % (writer, sequence, *fields)
        if not _is_plain(canonical, event):
            fields = _fields(event, _cleaned(event))
            canonical = _encode((_VERSION, writer, sequence, *fields))
        own = _hash(previous, canonical)
        rows.append((writer, sequence, previous, own, *fields))
        previous = own
    return rows, Head(writer, sequence, previous)


def hash_of(row: Sequence[Any], previous: str) -> str:
    """Returns the hash that a stored row ought to have after a record whose hash is `previous`.

    Raises ValueError where `previous` is no hash.
    """
    return _hash(previous, _encode((_VERSION, row[0], row[1], *row[len(_PLACE) :])))


def stored_event(row: Sequence[Any]) -> StoredEvent:
    """Returns the event of a row that begins with its id."""
    values: dict[str, Any] = dict(zip(COLUMNS, row[1:], strict=True))
    event = Event(
        kind=EventKind(values["kind"]),
        time=values["time_us"] / 1e6,
        **{name: values[name] for name in _EVENT_FIELDS},
    )
    return StoredEvent(row[0], values["writer"], values["sequence"], values["previous_hash"], values["hash"], event)


def _hash(previous: str, canonical: str) -> str:
    return hashlib.sha256(bytes.fromhex(previous) + canonical.encode("ascii")).hexdigest()


def _fields(event: Event, values: Row) -> Row:
    account, container = _place(values[_RESOURCE]) if event.lease_id else ("", "")
    return (event.kind._value_, round(event.time * 1e6), *values, account, container)


def _is_plain(canonical: str, event: Event) -> bool:
    """Tells whether a record can be written as it is: one look at all of it, as nearly every record can."""
    return (
        canonical.isascii()
        and canonical.isprintable()
        and "\\" not in canonical
        and canonical.count('"') == _QUOTES
        and len(canonical) <= MAX_CHARACTERS
        and scrub(free := " ".join(_free_texts(event))) == free
        and max(event.credential_version, event.ttl, event.expires, event.count) <= _MAX_INTEGER
    )


def _cleaned(event: Event) -> Row:
    """Returns the values of an event as they may be written."""
    values = _values(event)
    joined = "".join(_texts(event))
    free = " ".join(_free_texts(event))
    if scrub(free) != free:
        values = tuple(scrub(value) if theirs else value for value, theirs in zip(values, _FREE_PLACES, strict=True))
    # What a caller sent unchecked can hold what a database refuses or a terminal obeys; one such record must not keep
    # all that wait with it from being written.
    if not joined.isprintable() or len(joined) > MAX_CHARACTERS:
        values = tuple(clean(value) if isinstance(value, str) else value for value in values)
    return tuple(min(value, _MAX_INTEGER) if isinstance(value, int) else value for value in values)


def clean(text: str) -> str:
    """Returns `text` printable, with escapes for what is not, and no longer than `MAX_CHARACTERS`."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


@lru_cache(maxsize=4096)  # tokens are issued for the same few containers all day
def _place(url: str) -> tuple[str, str]:
    """Returns the account and the container that a token's resource names."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    host, path = parts.hostname or "", parts.path.strip("/").split("/")
    if host in ("127.0.0.1", "localhost", "::1"):
        # Emulators put the account into the path: https://127.0.0.1:10000/ACCOUNT/CONTAINER
        return clean(path[0]), clean(path[1] if len(path) > 1 else "")
    return clean(host.partition(".")[0]), clean(path[0])
