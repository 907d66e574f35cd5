"""`valetkey lease` and `valetkey audit` against a fake broker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue

import grpc
import pytest

from support.children import start
from support.cli_runner import Runner
from support.fake_access import event, lease
from support.fake_broker import API_KEY, Failure, FakeBroker
from valetkey.cli import ledger_anchors
from valetkey.v1 import ledger_service_pb2 as ledger_pb

COMMAND = [sys.executable, "-c", "from valetkey.cli import main; main()"]


def denied(number: int, **fields: object) -> ledger_pb.Event:
    return event(
        number, kind=ledger_pb.EVENT_KIND_DENIED, grant="", lease_id="", **{"reason": "RESOURCE_DENIED", **fields}
    )


def test_lease_list(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever asks what is out there: live tokens by default, --all for the rest, the filters."""
    broker.leases = [lease(1), lease(2), lease(3), lease(4, minutes=-1)]
    listed = valetkey("lease", "list").out
    for cell in ("lease-3", "key:trainer", "read, list", "training", "2026-05-01T12:15:00Z", "nightly run"):
        assert cell in listed
    assert "lease-4" not in listed
    assert len(valetkey("lease", "list", "--all", "-o", "json").json) == 4
    (first,) = valetkey("lease", "list", "--limit", "1", "-o", "json").json
    assert (first["lease_id"], first["permissions"], first["grant"]) == ("lease-1", ["read", "list"], "training")
    valetkey("lease", "list", "--principal", "key:a", "--connector", "c", "--resource", "az://models")
    sent = broker.requests[-1]
    assert (sent.principal, sent.connector, sent.resource_id, sent.include_expired) == (
        "key:a",
        "c",
        "az://models",
        False,
    )


def test_tail_is_one_line_a_record(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what a person reads: when, what, who, why, and where to look further."""
    broker.events = [event(1, purpose="run 7"), denied(2, count=9), denied(3, principal="", peer="", purpose="a\nb")]
    ran = valetkey("audit", "tail")
    assert (ran.code, ran.err) == (0, "")
    first, second, third = ran.out.splitlines()
    assert first == (
        "2026-05-01T12:00:01Z token-issued key:trainer IssueToken read,list "
        "https://contosoml.blob.core.windows.net/models connector=azure-blob-demo purpose='run 7' grant=training "
        "lease=lease-1 peer=192.0.2.7 request=req-1"
    )
    assert "reason=RESOURCE_DENIED x9" in second
    assert third.startswith("2026-05-01T12:00:03Z denied - ")
    assert [json.loads(line)["id"] for line in valetkey("audit", "tail", "-o", "json").out.splitlines()] == [1, 2, 3]


def test_tail_takes_the_newest(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects -n, and its bounds."""
    broker.events = [event(number) for number in range(1, 31)]
    assert len(valetkey("audit", "tail").out.splitlines()) == 20
    assert valetkey("audit", "tail", "-n", "1").out.endswith("request=req-30\n")
    assert valetkey("audit", "tail", "-n", "0").out == ""
    assert valetkey("audit", "tail", "-n", "1001").code == 2


def test_tail_follows_through_an_outage(broker: FakeBroker) -> None:
    """Protects whoever watches: new records as they come, a broker's restart survived, Ctrl-C quiet."""
    broker.events = [event(1)]
    env = {**os.environ, "VALETKEY_ENDPOINT": broker.endpoint, "VALETKEY_CA_FILE": str(broker.ca_file)}
    process = start(
        [*COMMAND, "audit", "tail", "--follow", "-o", "json"],
        env={**env, "VALETKEY_API_KEY": API_KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: Queue[str] = Queue()
    assert process.stdout
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout or ()])
    reader.start()
    try:
        assert json.loads(lines.get(timeout=120))["id"] == 1
        broker.failures["ListEvents"] = Failure(
            grpc.StatusCode.UNAVAILABLE, "the ledger is away", retry_delay=timedelta(seconds=0.1)
        )
        asked = len(broker.requests)
        deadline = time.monotonic() + 120
        while len(broker.requests) < asked + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        broker.events.append(event(2))
        del broker.failures["ListEvents"]
        assert json.loads(lines.get(timeout=120))["id"] == 2
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
        reader.join(timeout=120)
    assert process.stderr
    with process.stdout, process.stderr:
        assert process.stderr.read() == '{"warning": "the ledger is away; trying again"}\n'
    assert (process.returncode, lines.empty()) == (130, True)


def test_search_sends_its_filters(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects an investigation from looking at the wrong records."""
    ran = valetkey(
        *("audit", "search", "--kind", "denied", "--principal", "key:a", "--connector", "c"),
        *("--request-id", "r", "--lease-id", "l", "--since", "1h", "--until", "2126-05-01T12:00:00Z"),
        *("--resource", "az://models/v1/"),
    )
    assert ran.code == 0
    sent = broker.requests[0]
    assert (sent.kind, sent.principal, sent.connector, sent.request_id, sent.lease_id) == (2, "key:a", "c", "r", "l")
    assert abs(datetime.now(UTC) - sent.since.ToDatetime(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert sent.until.ToDatetime(UTC) == datetime(2126, 5, 1, 12, tzinfo=UTC)
    assert sent.resource_id == "az://models/v1/"


def test_search_for_unfinished_changes(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects an auditor from taking all records for unfinished ones: a broker that cannot tell refuses the kind."""
    for options in ((), ("--kind", "change-begun")):
        assert valetkey("audit", "search", "--unfinished", *options).code == 0
        sent = broker.requests[-1]
        assert (sent.unfinished, sent.kind) == (True, ledger_pb.EVENT_KIND_CHANGE_BEGUN)
    ran = valetkey("audit", "search", "--unfinished", "--kind", "denied")
    assert (ran.code, "unfinished: is asked of the kind denied; expected change-begun" in ran.err) == (2, True)
    assert len(broker.requests) == 2
    valetkey("audit", "search")
    assert not broker.requests[-1].unfinished


def test_a_change_as_auditors_see_it(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the reading of a change: what was begun, what became of it, and the id that ties the two."""
    fields = {"method": "/valetkey.v1.GrantService/UpdateGrant", "object": "grants/training", "request_id": "req-1"}
    nothing = {"resource": "", "connector": "", "lease_id": "", "grant": "", "permissions": [], "peer": ""}
    broker.events = [
        event(1, kind=ledger_pb.EVENT_KIND_CHANGE_BEGUN, **fields, **nothing),
        event(2, kind=ledger_pb.EVENT_KIND_CHANGE_FAILED, reason="CONFLICT", **fields, **nothing),
        event(3, kind=ledger_pb.EVENT_KIND_ADMIN_CHANGE, reason="INTERNAL", **fields, **nothing),
    ]
    unknown = "2026-05-01T12:00:03Z admin-change key:trainer UpdateGrant grants/training"
    assert valetkey("audit", "tail").out.splitlines() == [
        "2026-05-01T12:00:01Z change-begun key:trainer UpdateGrant grants/training request=req-1",
        "2026-05-01T12:00:02Z change-failed key:trainer UpdateGrant grants/training reason=CONFLICT request=req-1",
        f"{unknown} outcome not known reason=INTERNAL request=req-1",
    ]


def test_search_says_that_there_is_more(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against taking the first hundred for all."""
    broker.events = [event(number) for number in range(1, 6)]
    ran = valetkey("audit", "search", "--limit", "3", "-o", "json")
    assert [found["id"] for found in ran.json] == [1, 2, 3]
    assert "there is more than these 3" in ran.err
    whole = valetkey("audit", "search", "--limit", "5")
    assert (whole.err, "req-5" in whole.out, "read,list" in whole.out) == ("", True, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--since", "yesterday"), "--since: 'yesterday' is no time"),
        (("--since", "5"), "--since: '5' is no time"),
        (("--until", ""), "--until: '' is no time"),
        (("--since", "-1h"), "--since: -1h lies ahead; expected 0s or more, such as 1h"),
        (
            ("--since", "1h", "--until", "2h"),
            "--since: 1h is not before --until 2h; expected a time before",
        ),
        (("--since", "2026-05-01", "--until", "2026-05-01"), "--since: 2026-05-01 is not before --until 2026-05-01"),
        (("--since", "yesterdayish"), "--since: 'yesterdayish' is no time; expected a duration such as 1h or 90d, or"),
        (("--since", "some days"), "--since: 'some days' is no time; expected a duration such as 1h or 90d, or one"),
        (("--since", "9999999d"), "--since: 9999999d lies outside the years 1 to 9999"),
        (("--kind", "party"), "Invalid value for '--kind'"),
        (("--limit", "0"), "Invalid value for '--limit'"),
    ],
)
def test_a_search_that_cannot_be_meant(
    options: tuple[str, ...], says: str, valetkey: Runner, broker: FakeBroker
) -> None:
    """Protects against an empty answer that looks like peace."""
    ran = valetkey("audit", "search", *options)
    assert (ran.code, ran.err.startswith(f"Error: {says}")) == (2, True), ran.err
    assert broker.requests == []


def test_verify_tells_what_it_cannot_see(valetkey: Runner) -> None:
    """Protects an auditor from trusting a check without an anchor too far; the heads are printed."""
    ran = valetkey("audit", "verify")
    assert ran.code == 0
    assert ran.out.startswith("The ledger holds: 7 records, every chain unbroken.\n")
    assert f"w-1    │ 7        │ {'0a' * 32}" in ran.out
    assert "without --anchor-file nobody can see records that were cut off at the end" in ran.err
    as_json = valetkey("audit", "verify", "-o", "json")
    assert (as_json.json["intact"], as_json.json["heads"][0]["sequence"]) == (True, 7)
    assert "note" in json.loads(as_json.err)


def test_verify_names_the_first_broken_record(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects against a break that scripts overlook: exit 1; heads of a broken ledger are not saved."""
    broker.verification.intact = False
    broker.verification.problem = "record 4 of w-1 was edited"
    broker.verification.broken_id = 42
    ran = valetkey("audit", "verify", "--save-heads", str(tmp_path / "heads.json"))
    assert ran.code == 1
    assert ran.out.startswith("The ledger is BROKEN: record 42: record 4 of w-1 was edited\n")
    assert list(tmp_path.glob("*heads*")) == []
    assert valetkey("audit", "verify", "-o", "json").json["broken_id"] == 42


def test_the_broken_record_is_named_once(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a stutter in the line that matters, and against anchoring what is broken."""
    broker.verification.intact = False
    broker.verification.problem = "record 42 (writer w-1, sequence 4): it was changed"
    broker.verification.broken_id = 42
    out = valetkey("audit", "verify").out
    assert out.startswith("The ledger is BROKEN: record 42 (writer w-1, sequence 4): it was changed\n")
    assert "do not anchor these" in out
    assert "do not anchor these" in json.loads(valetkey("audit", "verify", "-o", "json").err)["warning"]


def test_writers_that_no_anchor_knows(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects against invented chains: they are unbroken, and only somebody who knows the brokers can tell."""
    path = tmp_path / "heads.json"
    assert valetkey("audit", "verify", "--save-heads", str(path)).code == 0
    broker.verification.heads.add(writer="w-2", sequence=1, hash=b"\x0b" * 32)
    ran = valetkey("audit", "verify", "--anchor-file", str(path))
    assert ran.code == 0
    assert "Warning: not among the anchors: 1 writer (w-2);" in ran.err
    assert "w-1" not in ran.err
    as_json = valetkey("audit", "verify", "--anchor-file", str(path), "-o", "json")
    assert "w-2" in json.loads(as_json.err)["warning"]


def test_anchors_go_out_and_come_back(
    valetkey: Runner, broker: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the round of anchors: saved, given next time, moved on only after they were checked."""
    path = tmp_path / "heads.json"
    assert valetkey("audit", "verify", "--save-heads", str(path)).code == 0
    again = valetkey("audit", "verify", "--save-heads", str(path))
    assert (again.code, f"{path} exists, and was not checked" in again.err) == (2, True)
    broker.verification.heads[0].sequence = 9
    both = valetkey("audit", "verify", "--anchor-file", str(path), "--save-heads", str(path))
    assert (both.code, both.err) == (0, "")
    assert [(head.writer, head.sequence, head.hash) for head in broker.requests[-1].anchors] == [
        ("w-1", 7, b"\x0a" * 32)
    ]
    assert json.loads(path.read_text())["heads"][0]["sequence"] == 9
    assert list(tmp_path.glob(".*heads*")) == []
    # In a folder that others may write to, no link of theirs leads it elsewhere.
    monkeypatch.setattr(ledger_anchors.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".new.json.guessed").symlink_to(tmp_path / "victim")
    assert valetkey("audit", "verify", "--save-heads", str(tmp_path / "new.json")).code == 2
    assert not (tmp_path / "victim").exists()
    printed = tmp_path / "printed.json"
    printed.write_text(valetkey("audit", "verify", "-o", "json").out)
    assert valetkey("audit", "verify", "--anchor-file", str(printed), "-o", "json").json["anchors_checked"] == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"heads": []}',
        '{"heads": [{"writer": "w", "sequence": 1, "hash": "0a"}]}',
        '{"heads": ["x"]}',
        '{"heads": [{"writer": "w", "sequence": "1", "hash": "' + "0a" * 32 + '"}]}',
    ],
)
def test_a_file_that_is_no_anchor(content: str, valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects against a check that passes because there was nothing to check against."""
    path = tmp_path / "heads.json"
    path.write_text(content)
    ran = valetkey("audit", "verify", "--anchor-file", str(path))
    assert (ran.code, ran.err) == (
        2,
        f"Error: --anchor-file: {path} holds no heads; expected a file that --save-heads wrote\n",
    )
    assert broker.requests == []


def test_files_that_cannot_be_used(valetkey: Runner, tmp_path: Path) -> None:
    """Protects against heads that were never written, or never read."""
    missing = valetkey("audit", "verify", "--anchor-file", str(tmp_path / "no.json"))
    assert (missing.code, "no.json cannot be read: No such file" in missing.err) == (2, True)
    nowhere = valetkey("audit", "verify", "--save-heads", str(tmp_path / "no" / "heads.json"))
    assert (nowhere.code, "heads.json cannot be written: No such file" in nowhere.err) == (2, True)
