"""The canonical form and the hashes, computed here a second time from what docs/ledger.md says."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.ledgers import issued
from valetkey_broker.ledger.chain import GENESIS, MAX_CHARACTERS, extend, hash_of, stored_event
from valetkey_broker.ledger.schema import COLUMNS
from valetkey_broker.model import MOST_DETAIL_CHARACTERS, MOST_DETAILS, Event, EventKind, Head, cut, details_of

WRITER = "11111111-1111-4111-8111-111111111111"


def test_hash_is_as_documented() -> None:
    """An auditor can compute each hash from the columns with nothing but JSON and SHA-256."""
    details = {"roles": "admin", "error": "größer"}
    event = issued(lease_id="lease", request_id="request", purpose="größer", details=details)
    rows, head = extend(Head(WRITER, 0, GENESIS), [event])
    assert hashlib.sha256(b"valetkey-ledger-1").hexdigest() == GENESIS
    canonical = json.dumps(
        [
            "valetkey-ledger-2",
            WRITER,
            1,
            "token-issued",
            1_790_000_000_250_000,
            "request",
            "/valetkey.v1.TokenService/IssueToken",
            "key:trainer",
            "api-key",
            "192.0.2.7",
            "",
            "azure-blob-demo",
            "44444444-4444-4444-8444-444444444444",
            3,
            "https://demoaccount.blob.core.windows.net/models",
            "rl",
            900,
            1_790_000_900,
            "lease",
            "ab" * 32,
            "training",
            "",
            "größer",
            1,
            "demoaccount",
            "models",
            '{"error":"größer","roles":"admin"}',
        ],
        separators=(",", ":"),
        ensure_ascii=True,
    )
    expected = hashlib.sha256(bytes.fromhex(GENESIS) + canonical.encode()).hexdigest()
    assert rows[0][:4] == (WRITER, 1, GENESIS, expected)
    assert rows[0][-2] == 2
    assert head == Head(WRITER, 1, expected)


_ODD = ['a"b', "a\\b", "\x7f", "a\tb", "ü", "\u2028", "s." + "x" * 30, "x" * 1600]
_TEXT = st.text(max_size=30) | st.sampled_from(_ODD)
_NUMBER = st.integers(0, 2**64)


@given(
    st.builds(
        Event,
        kind=st.sampled_from(EventKind),
        time=st.floats(0, 4e9),
        **{f.name: _TEXT if f.type is str else _NUMBER for f in dataclasses.fields(Event)[2:-1]},
        details=st.dictionaries(st.sampled_from(["error", "roles", "a_1"]), _TEXT.map(cut)),
    )
)
def test_a_row_hashes_to_what_is_stored_of_it(event: Event) -> None:
    """The short way to the canonical form gives what the JSON encoder gives, for whatever an event holds."""
    (row,), head = extend(Head(WRITER, 6, "11" * 32), [event])
    canonical = json.dumps(["valetkey-ledger-2", row[0], row[1], *row[4:-2], row[-1]], separators=(",", ":"))
    assert row[3] == hashlib.sha256(bytes.fromhex("11" * 32) + canonical.encode("ascii")).hexdigest() == head.hash
    assert hash_of(row, "11" * 32) == row[3]
    assert all(len(value) <= MAX_CHARACTERS and value.isprintable() for value in row[:-1] if isinstance(value, str))
    assert row[-1].isprintable()
    assert stored_event((1, *row)).event.details.keys() == event.details.keys()


@pytest.mark.parametrize("odd", [*_ODD, 'a"', "\\", '","', 2**64])
def test_one_odd_value_in_a_plain_record_is_hashed_as_it_is_stored(odd: str | int) -> None:
    """A backslash in a purpose would leave a record that no check believes: all else about it takes the short way."""
    plain = issued(lease_id="lease", signature_sha256="ab" * 32)
    for field in dataclasses.fields(Event)[2:-1]:
        if (field.type is str) is not isinstance(odd, str):
            continue
        change: dict[str, Any] = {field.name: odd}
        (row,), _ = extend(Head(WRITER, 6, "11" * 32), [dataclasses.replace(plain, **change)])
        assert hash_of(row, "11" * 32) == row[3], field.name
        assert all(value.isprintable() and len(value) <= MAX_CHARACTERS for value in row if isinstance(value, str))
        assert all(value < 2**63 for value in row if isinstance(value, int))


_CHANGES = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from(EventKind)}),
    st.fixed_dictionaries({"time": st.sampled_from([1.0, 1.5])}),
    st.fixed_dictionaries({"details": st.dictionaries(st.just("error"), _TEXT.map(cut))}),
    *(
        st.fixed_dictionaries({f.name: _TEXT if f.type is str else st.sampled_from([0, 1, 2**64])})
        for f in dataclasses.fields(Event)[2:-1]
    ),
    st.fixed_dictionaries({"lease_id": _TEXT, "signature_sha256": _TEXT}),
    st.just({}),
)


@given(st.lists(_CHANGES, max_size=6))
def test_records_that_have_much_in_common_are_those_of_each_by_itself(changes: list[dict[str, Any]]) -> None:
    """What one record shares with the one before is laid out once, and nothing that it does not share."""
    events = [issued(lease_id="first")]
    for change in changes:
        events.append(dataclasses.replace(events[-1], **change))
    together, last = extend(Head(WRITER, 0, GENESIS), events)
    head = Head(WRITER, 0, GENESIS)
    for event, row in zip(events, together, strict=True):
        (own,), head = extend(head, [event])
        assert row == own
    assert last == head


def test_every_field_is_hashed() -> None:
    """No column can be changed without its hash, the place of the record included."""
    rows, _ = extend(Head(WRITER, 0, GENESIS), [issued()])
    row = list(rows[0])
    assert hash_of(row, GENESIS) == row[3]
    for index, value in enumerate(row):
        if index in (2, 3):
            continue
        changed = [*row]
        changed[index] = value + 1 if isinstance(value, int) else f"{value}x"
        if COLUMNS[index] == "version":
            with pytest.raises(ValueError, match="no form that is known"):
                hash_of(changed, GENESIS)
            continue
        assert hash_of(changed, GENESIS) != row[3], index
    assert hash_of(row, "11" * 32) != row[3]


def test_fields_of_the_event_and_of_the_table_are_the_same() -> None:
    """A field added to the event without a migration is noticed here, not lost in silence."""
    fields = {field.name for field in dataclasses.fields(Event)} - {"time"} | {"time_us"}
    assert fields == set(COLUMNS) - {"writer", "sequence", "previous_hash", "hash", "account", "container", "version"}


_texts = st.text(max_size=40)


@given(
    resource=st.text(max_size=3 * MAX_CHARACTERS), purpose=_texts, principal=_texts, lease_id=_texts, ttl=st.integers(0)
)
def test_any_text_is_recorded_printable_and_bounded(
    resource: str, purpose: str, principal: str, lease_id: str, ttl: int
) -> None:
    """Whatever callers send, a row can be stored by any database, and its hash holds."""
    event = Event(
        kind=EventKind.DENIED,
        time=1.5,
        resource=resource,
        purpose=purpose,
        principal=principal,
        lease_id=lease_id,
        ttl=ttl,
    )
    rows, head = extend(Head(WRITER, 4, "22" * 32), [event, event])
    for row in rows:
        for value in row:
            assert isinstance(value, int) or (value.isprintable() and len(value) <= MAX_CHARACTERS)
            assert not isinstance(value, int) or value < 2**63
            str(value).encode()
    assert [row[1] for row in rows] == [5, 6]
    assert rows[1][2] == rows[0][3]
    assert hash_of(rows[1], rows[0][3]) == rows[1][3] == head.hash


def test_printable_text_is_recorded_untouched() -> None:
    """What is clean is not altered: the record shows what was asked."""
    event = issued(purpose="Lauf 17: größer, 模型, \\n stays")
    rows, _ = extend(Head(WRITER, 0, GENESIS), [event])
    assert stored_event((1, *rows[0])).event == event


PLANTED = ["vk_" + "k" * 43, "sv=2024-11-04&sig=" + "k" * 43 + "%3D", "Bearer " + "k" * 43, "hvs." + "k" * 30]


@pytest.mark.parametrize("secret", PLANTED, ids=["api-key", "sas", "bearer", "vault"])
@pytest.mark.parametrize("field", ["request_id", "method", "object", "connector", "resource", "reason", "purpose"])
def test_no_secret_reaches_a_record(field: str, secret: str) -> None:
    """Whoever forgot to look before: a secret in a caller's own words is not written, and the rest of the words is."""
    event = dataclasses.replace(issued(), **{field: f"see {secret} ok"})
    rows, _ = extend(Head(WRITER, 0, GENESIS), [event])
    assert "k" * 20 not in str(rows)
    recorded = getattr(stored_event((1, *rows[0])).event, field)
    assert recorded.startswith("see ")
    assert "***" in recorded
    assert hash_of(rows[0], GENESIS) == rows[0][3]


def test_no_secret_reaches_the_details() -> None:
    """Details are filtered by their shape and by their name, and stay whole otherwise."""
    details = {"error": f"see {PLANTED[1]} ok", "client_secret": "hunter2", "roles": "admin, viewer"}
    rows, _ = extend(Head(WRITER, 0, GENESIS), [issued(details=details)])
    assert "k" * 20 not in str(rows)
    recorded = stored_event((1, *rows[0])).event.details
    assert recorded["client_secret"] == "***"
    assert recorded["roles"] == "admin, viewer"
    assert recorded["error"].startswith("see ")


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ({f"d{number}": "x" for number in range(MOST_DETAILS + 1)}, "17 details"),
        ({"error": "x" * (MOST_DETAIL_CHARACTERS + 1)}, "the detail error has 501 characters"),
        ({"Error": "x"}, "is named 'Error'"),
        ({"": "x"}, "is named ''"),
        ({"a" * 33: "x"}, "is named 'aaa"),
        ({"a\n": "x"}, "is named"),
    ],
)
def test_details_have_bounds(details: dict[str, str], says: str) -> None:
    """Whatever a later kind of record holds, no record grows without a limit; the mistake shows where it is made."""
    with pytest.raises(ValueError, match=says):
        issued(details=details)
    assert issued(details={"e" * 32: "x" * MOST_DETAIL_CHARACTERS}).details


def test_details_are_cut_by_who_makes_them() -> None:
    """Texts from outside are cut to what an event takes, and what has no value is left out."""
    made = details_of(error="x" * 600, roles="")
    assert made == {"error": "x" * 499 + "…"}
    assert issued(details=made).details == made


@pytest.mark.parametrize("stored", ["no JSON", "[1]", '"text"', "{", '{"a":1,"b":[2]}', '{"a\\u001b":"b"}'])
def test_details_that_somebody_else_made_can_be_listed(stored: str) -> None:
    """A record that was tampered with does not end the list that it stands in; the check names it."""
    (row,), _ = extend(Head(WRITER, 0, GENESIS), [issued()])
    found = stored_event((1, *row[:-1], stored)).event.details
    assert found
    assert all(name.isprintable() and text.isprintable() for name, text in found.items())


def test_account_and_container_come_from_the_filtered_resource() -> None:
    """The columns that are taken from a resource do not bring back what was taken out of it."""
    event = issued(lease_id="lease", resource="https://demoaccount.blob.core.windows.net/vk_" + "k" * 43)
    rows, _ = extend(Head(WRITER, 0, GENESIS), [event])
    assert "k" * 20 not in str(rows)
