"""How records are chained: the canonical form of a record, and its hash over the one before it.

hash = SHA-256(previous hash, 32 bytes ‖ canonical form), where the canonical form is the JSON array, in ASCII and
without spaces, of the form's name, the writer, the sequence, and the other columns in the order of the table: for
"valetkey-ledger-1" from `kind` to `container`, for "valetkey-ledger-2" `details` besides. The column `version` says
which; one chain may hold both. The first record of a writer follows `GENESIS`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from valetkey_broker.ledger.schema import COLUMNS, NUMBERS
from valetkey_broker.model import MOST_DETAIL_CHARACTERS, Event, EventKind, Head, StoredEvent, check_details, cut
from valetkey_broker.observability.redaction import scrub, scrub_named

GENESIS = hashlib.sha256(b"valetkey-ledger-1").hexdigest()
Row = tuple[Any, ...]
"""The values of one record, in the order of `COLUMNS`."""

# A resource id has 1,200 characters at most and everything else far fewer, so only what nobody checked is cut.
MAX_CHARACTERS = 1500
_MAX_INTEGER = 2**63 - 1
_KINDS = {kind.value: kind for kind in EventKind}
FIRST_FORM = "valetkey-ledger-1"
FORM_NAME = "valetkey-ledger-2"
VERSION = 2
"""The version of the form that is written."""
_PLACE = ("writer", "sequence", "previous_hash", "hash")
_LATER = ("version", "details")
_FIELDS = COLUMNS[len(_PLACE) : -len(_LATER)]
FORM_COLUMNS = ("writer", "sequence", *_FIELDS, "details")
"""What stands in the form that is written, behind its name."""
_EVENT_FIELDS = [name for name in _FIELDS if name not in ("kind", "time_us", "account", "container")]
# What callers may have put into words of their own. People paste keys and SAS URLs where a name or a purpose belongs.
_FREE = ("request_id", "method", "object", "connector", "resource", "reason", "purpose")
_FREE_PLACES = tuple(name in _FREE for name in _EVENT_FIELDS)
_free_texts = attrgetter(*_FREE)
_RESOURCE = _EVENT_FIELDS.index("resource")
_values = attrgetter(*_EVENT_FIELDS)
_texts = attrgetter(*(name for name in _EVENT_FIELDS if name not in NUMBERS))
_encode = json.JSONEncoder(separators=(",", ":")).encode
_encode_details = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode
# What each token has to itself, where one call got many by equal requests: beside the sequence, which is counted.
_FIRST_OWN, _BEHIND_OWN = _EVENT_FIELDS.index("lease_id"), _EVENT_FIELDS.index("signature_sha256") + 1
_FIRST_OWN_FIELD = _FIELDS.index("lease_id")
_BEHIND_OWN_FIELD = _FIRST_OWN_FIELD + _BEHIND_OWN - _FIRST_OWN
# The canonical form of a record in which nothing needs escaping, before and behind these: what the encoder makes of it,
# in a fifth of the time.
_BEFORE_OWN, _AFTER_OWN = (
    ",".join("%d" if name in NUMBERS else '"%s"' for name in names)
    for names in (_FIELDS[:_FIRST_OWN_FIELD], _FIELDS[_BEHIND_OWN_FIELD:])
)
_QUOTES = (_BEFORE_OWN + _AFTER_OWN).count('"')


def extend(head: Head, events: Iterable[Event]) -> tuple[list[Row], Head]:
    """Returns the rows that record `events` after `head`, and the head after them."""
    writer, sequence, previous = head.writer, head.sequence, head.hash
    begin = _begin(writer)
    rows: list[Row] = []
    alike: _Alike | None = None
    for event in events:
        sequence += 1
        values = _values(event)
        own = lease_id, signature = values[_FIRST_OWN:_BEHIND_OWN]
        if alike is None or not alike.has(event, values):
            alike = _Alike(event, values)
        canonical = f'{begin},{sequence},{alike.before},"{lease_id}","{signature}",{alike.behind},""]'
        if alike.plain and _needs_no_escape(lease_id + signature) and len(canonical) <= MAX_CHARACTERS:
            fields, details = (*alike.fields_before, *own, *alike.fields_behind), ""
        else:
            fields, details = _fields(event, _cleaned(event)), _details(event.details)
            canonical = _encode((FORM_NAME, writer, sequence, *fields, details))
        digest = hash_over(previous, canonical)
        rows.append((writer, sequence, previous, digest, *fields, VERSION, details))
        previous = digest
    return rows, Head(writer, sequence, previous)


@lru_cache(maxsize=16)  # a process writes one chain
def _begin(writer: str) -> str:
    """Returns what the canonical form of each record of a writer begins with."""
    return _encode((FORM_NAME, writer))[:-1]


class _Alike:
    """What a record shares with those beside it that are of tokens for equal requests, looked at and laid out once."""

    def __init__(self, event: Event, values: Row) -> None:
        self._event, self._values = event, values
        fields = _fields(event, values)
        self.fields_before, self.fields_behind = fields[:_FIRST_OWN_FIELD], fields[_BEHIND_OWN_FIELD:]
        self.before, self.behind = _BEFORE_OWN % self.fields_before, _AFTER_OWN % self.fields_behind
        free = "\n".join(_free_texts(event))
        self.plain = (
            not event.details
            and _needs_no_escape(self.before + self.behind, _QUOTES)
            and scrub(free) == free
            and max(event.credential_version, event.ttl, event.expires, event.count) <= _MAX_INTEGER
        )

    def has(self, event: Event, values: Row) -> bool:
        """Tells whether the record of `event` shares it."""
        mine, own = self._event, self._values
        return (
            event.time == mine.time
            and event.kind is mine.kind
            # Whether there is a lease decides what is taken from the resource.
            and (event.lease_id == "") is (mine.lease_id == "")
            and event.details == mine.details
            and values[:_FIRST_OWN] == own[:_FIRST_OWN]
            and values[_BEHIND_OWN:] == own[_BEHIND_OWN:]
        )


def head_after(row: Row) -> Head:
    """Returns the head of a chain that ends with `row`."""
    return Head(row[0], row[1], row[3])


def hash_of(row: Sequence[Any], previous: str) -> str:
    """Returns the hash that a stored row ought to have after a record whose hash is `previous`.

    Raises ValueError where `previous` is no hash, where the form of the row is not known, and where it holds what its
    form does not cover; TypeError where it holds what is neither text nor a number.
    """
    return hash_over(previous, canonical_form(row))


def canonical_form(row: Sequence[Any]) -> str:
    """Returns what is hashed of a stored row. Raises as `hash_of` does."""
    version, details = row[-len(_LATER) :]
    place_and_fields = (row[0], row[1], *row[len(_PLACE) : -len(_LATER)])
    if version == VERSION:
        return _encode((FORM_NAME, *place_and_fields, details))
    if version == 1 and details == "":
        return _encode((FIRST_FORM, *place_and_fields))
    raise ValueError("the row is of no form that is known")


def stored_event(row: Sequence[Any]) -> StoredEvent:
    """Returns the event of a row that begins with its id.

    What was put into the database by others may not be what its column is for: then it is 0, empty, or escaped.
    """
    values: dict[str, Any] = {
        name: _number(value) if name in NUMBERS else _text(value) for name, value in zip(COLUMNS, row[1:], strict=True)
    }
    event = Event(
        kind=_KINDS.get(values["kind"], EventKind.UNKNOWN),
        time=values["time_us"] / 1e6,
        **{name: values[name] for name in _EVENT_FIELDS},
        details=_read_details(row[-1]),
    )
    place = (row[0], values["writer"], values["sequence"], values["previous_hash"], values["hash"])
    return StoredEvent(*place, event, form=values["version"])


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _text(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""


def hash_over(previous: str, canonical: str) -> str:
    """Returns the hash of a record. Raises ValueError where `previous` is no hash."""
    return hashlib.sha256(bytes.fromhex(previous) + canonical.encode("ascii")).hexdigest()


def _fields(event: Event, values: Row) -> Row:
    account, container = _place(values[_RESOURCE]) if event.lease_id else ("", "")
    return (event.kind._value_, round(event.time * 1e6), *values, account, container)


def _needs_no_escape(text: str, quotes: int = 0) -> bool:
    """Tells whether JSON has `text` as it is, but for so many quotes of its own."""
    return text.isascii() and text.isprintable() and "\\" not in text and text.count('"') == quotes


def _cleaned(event: Event) -> Row:
    """Returns the values of an event as they may be written."""
    values = _values(event)
    joined = "".join(_texts(event))
    free = "\n".join(_free_texts(event))
    if scrub(free) != free:
        values = tuple(scrub(value) if theirs else value for value, theirs in zip(values, _FREE_PLACES, strict=True))
    # What a caller sent unchecked can hold what a database refuses or a terminal obeys; one such record must not keep
    # all that wait with it from being written.
    if not joined.isprintable() or len(joined) > MAX_CHARACTERS:
        values = tuple(clean(value) if isinstance(value, str) else value for value in values)
    return tuple(min(value, _MAX_INTEGER) if isinstance(value, int) else value for value in values)


def _details(details: Mapping[str, str]) -> str:
    """Returns details as they may be written."""
    if not details:
        return ""
    cleaned = {name: clean(scrub_named(name, value), MOST_DETAIL_CHARACTERS) for name, value in details.items()}
    return _encode_details(cleaned)


def _read_details(text: str) -> dict[str, str]:
    """Returns stored details; what somebody else made of them stands there as it is."""
    if not text:
        return {}
    try:
        details = {name: clean(value) for name, value in json.loads(text).items()}
        check_details(details)
    except (ValueError, TypeError, AttributeError):
        return {"unreadable": clean(str(text), MOST_DETAIL_CHARACTERS)}
    return details


def clean(text: str, most: int = MAX_CHARACTERS) -> str:
    """Returns `text` printable, with escapes for what is not, and no longer than `most`."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return cut(text, most)


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
