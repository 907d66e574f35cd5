"""Records as lines: whatever callers wrote, a line has the fields that the record has, and no others."""

import ast
import dataclasses
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.cli_runner import Runner
from support.fake_access import event, lease
from support.fake_broker import FakeBroker
from valetkey.cli.event_views import event_line
from valetkey.cli.quoting import quoted
from valetkey.ledger_values import Event

FORGED = "x peer=10.9.9.9 request=forged"
ODD = [
    FORGED,
    "a'b",
    'a"b',
    "a\\",
    "\x1b[2J",
    "\x9b2J",
    "a\nb",
    "\u202egnp",
    "\u2028",
    "\xa0",
    "-",
    "x9",
    "=",
    "größer",
]
_TEXT = st.text(max_size=20) | st.sampled_from(ODD)
_STRING = r"'(?:[^'\\]|\\.)*'" + r'|"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf"(?:([a-z_]+)=)?({_STRING}|[^ '\"=]+)(?: |\Z)")


def fields_of(line: str) -> tuple[list[str], dict[str, str]]:
    """Reads a line as a person would: words, and `name=value`; raises AssertionError where it is no such line."""
    words: list[str] = []
    named: dict[str, str] = {}
    place = 0
    while place < len(line):
        token = _TOKEN.match(line, place)
        assert token, line[place:]
        name, value = token.groups()
        value = str(ast.literal_eval(value)) if value[0] in "'\"" else value
        assert name not in named
        if name:
            named[name] = value
        else:
            words.append(value)
        place = token.end()
    return words, named


@given(
    st.builds(
        Event,
        **{
            field.name: _TEXT
            for field in dataclasses.fields(Event)
            if field.type in (str, "str") and field.name not in ("kind", "method")
        },
        id=st.just(1),
        sequence=st.just(1),
        time=st.just(datetime(2026, 5, 1, tzinfo=UTC)),
        kind=st.just("denied"),
        method=st.just("/valetkey.v1.TokenService/IssueToken"),
        credential_version=st.just(1),
        permissions=st.just(()),
        ttl=st.none(),
        expire_time=st.none(),
        count=st.integers(1, 3),
        details=st.dictionaries(st.sampled_from(["error", "roles"]), _TEXT),
    )
)
def test_no_value_makes_a_field_of_its_own(record: Event) -> None:
    """A line is read back as what the record holds, so none of its values can pass for another one's."""
    line = event_line(record)
    assert line.isprintable()
    words, named = fields_of(line)
    expected = {
        "connector": record.connector,
        "purpose": record.purpose,
        "grant": record.grant,
        "reason": record.reason,
        "lease": record.lease_id,
        "peer": record.peer,
        "request": record.request_id,
        **record.details,
    }
    assert named == {name: value for name, value in expected.items() if value or name in record.details}
    given_words = [
        "2026-05-01T00:00:00Z",
        "denied",
        record.principal or "-",
        "IssueToken",
        record.object,
        record.resource,
    ]
    count = f"x{record.count}" if record.count > 1 else ""
    assert words == [word for word in [*given_words, count] if word]


def test_detail_does_not_pass_for_a_field(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the one peer of a record from a detail of that name."""
    broker.events = [event(1, details={"peer": "10.9.9.9"})]
    assert "'peer'='10.9.9.9'" in valetkey("audit", "tail").out


@pytest.mark.parametrize(
    "plain",
    [
        "key:trainer",
        "spiffe://prod.example/ns/ml/sa/trainer",
        "oidc:https://issuer.example#system:serviceaccount:ml:trainer",
        "https://contosoml.blob.core.windows.net/models/run-7_a.b~c",
        "2001:db8::/64",
        "fe80::1%eth0",
        "az://$web",
    ],
)
def test_what_records_hold_every_day_stays_bare(plain: str) -> None:
    """Lines stay readable, and can be searched for what people know."""
    assert quoted(plain) == plain


@pytest.mark.parametrize(
    "field", ["principal", "object", "resource", "connector", "grant", "reason", "purpose", "lease_id"]
)
@pytest.mark.parametrize("command", ["tail", "search"])
def test_forged_fields_are_in_quotes(valetkey: Runner, broker: FakeBroker, command: str, field: str) -> None:
    """Protects an investigation from a caller who writes peers and request ids into names."""
    broker.events = [event(1, **{field: FORGED})]
    out = valetkey("audit", command).out
    assert f"'{FORGED}'" in out
    assert "192.0.2.7" in out


def test_details_stand_in_the_line_and_in_json(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what a failed authentication or a change has to tell: quoted, in order, and whole in JSON."""
    details = {"roles": "admin, viewer", "error": 'it "expired"'}
    broker.events = [event(1, details=details)]
    assert (
        """grant=training error='it "expired"' roles='admin, viewer' lease=lease-1""" in valetkey("audit", "tail").out
    )
    (found,) = valetkey("audit", "search", "-o", "json").json
    assert list(found["details"].items()) == sorted(details.items())


def test_tables_keep_their_lines(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects tables from purposes that draw rows and columns, or drive the terminal."""
    message = lease(1)
    message.purpose = "a │ b\nlease-9 ┃ \x1b[2J\u202e"
    broker.leases = [message]
    out = valetkey("lease", "list").out
    assert "a \\u2502 b\\nlease-9 \\u2503 \\x1b[2J\\u202e" in out
    as_json = valetkey("lease", "list", "-o", "json")
    assert as_json.json[0]["purpose"] == message.purpose
    assert "\u202e" not in as_json.out


def test_json_lines_drive_no_terminal(valetkey: Runner, broker: FakeBroker) -> None:
    """JSON leaves C1 controls, bidi controls and line separators as they are: on a screen they act."""
    broker.events = [event(1, purpose="\x9b2J\u202e\u2028\U000e0001 größer")]
    out = valetkey("audit", "tail", "-o", "json").out
    assert out.rstrip("\n").isprintable()
    assert "größer" in out
    assert json.loads(out)["purpose"] == broker.events[0].purpose
