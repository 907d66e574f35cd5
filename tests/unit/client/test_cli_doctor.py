"""`valetkey doctor` against a fake broker: one line of cause, no signature anywhere, nobody asked who need not be."""

from pathlib import Path
from typing import Any

import pytest

from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from valetkey.cli import doctor
from valetkey.cli.doctor import _ordered
from valetkey.sas import Finding
from valetkey.storage_probe import StorageAnswer
from valetkey.v1 import ledger_service_pb2 as pb

SIG = "PLANTEDsignatureAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"
GOOD = (
    "https://contosoml.blob.core.windows.net/models?sv=2026-02-06&st=2020-01-01T00:00:00Z&se=2999-01-01T00:00:00Z"
    f"&sr=c&sp=rl&spr=https&skoid=x&scid=lease-1&sig={SIG}"
)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for storage, which takes the token; holds what it was asked."""
    asked: list[Any] = []

    def answer(*arguments: Any) -> StorageAnswer:
        asked.append(arguments)
        return StorageAnswer(200)

    monkeypatch.setattr(doctor, "probe_storage", answer)
    return asked


def _file(directory: Path, text: str) -> str:
    path = directory / "url"
    path.write_text(text)
    return f"@{path}"


def test_a_good_token(valetkey: Runner, broker: FakeBroker, storage: list[Any], tmp_path: Path) -> None:
    """Protects who looks elsewhere for the cause: the token is said to be good, by storage itself."""
    broker.diagnosis = pb.DiagnoseTokenResponse(storage_known=True)
    ran = valetkey("doctor", "--url", _file(tmp_path, GOOD))
    assert ran.code == 0
    assert "Cause: storage takes the token; nothing speaks against it" in ran.out
    assert "PLANTED" not in ran.out + ran.err
    (request,) = broker.requests
    assert (request.lease_id, request.url) == ("lease-1", "https://contosoml.blob.core.windows.net/models")
    assert len(request.signature_sha256) == 32
    assert "PLANTED" not in str(request)
    assert len(storage) == 1


def test_the_cause_is_one_line(valetkey: Runner, broker: FakeBroker, storage: list[Any], tmp_path: Path) -> None:
    """Protects the reader: cause and next step, of token and broker together, the decisive one first."""
    finding = pb.TokenFinding(cause="key-dropped", message="the keys were dropped", mend="Ask anew.", decides=True)
    broker.diagnosis = pb.DiagnoseTokenResponse(findings=[finding], storage_known=False)
    ran = valetkey("doctor", "--url", _file(tmp_path, GOOD))
    assert (ran.code, storage) == (1, [])
    assert "Cause: the keys were dropped\nNext:  Ask anew.\n" in ran.out
    as_json = valetkey("doctor", "--url", _file(tmp_path, GOOD), "-o", "json").json
    assert (as_json["cause"], as_json["next"], as_json["storage"]) == ("key-dropped", "Ask anew.", None)
    assert "PLANTED" not in str(as_json)


def test_a_token_on_the_command_line_is_refused(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from process lists: and the error does not repeat it."""
    ran = valetkey("doctor", "--url", GOOD)
    assert (ran.code, broker.requests) == (2, [])
    assert "PLANTED" not in ran.out + ran.err


def test_by_standard_input_without_anybody(bare: Runner) -> None:
    """Protects those who have no broker at hand: what the token itself says needs none."""
    old = GOOD.replace("2999-01-01", "2021-01-01").encode()
    ran = bare("doctor", "--url", "-", "--offline", stdin=old)
    assert ran.code == 1
    assert "Cause: the token ended at 2021-01-01 00:00:00 UTC" in ran.out
    assert "PLANTED" not in ran.out + ran.err


def test_a_broker_that_cannot_be_asked(
    valetkey: Runner, storage: list[Any], tmp_path: Path, broker: FakeBroker
) -> None:
    """Protects the token: without the broker's word on the host it is shown to nobody."""
    broker.api_key = "another"
    ran = valetkey("doctor", "--url", _file(tmp_path, GOOD))
    assert (ran.code, storage) == (0, [])
    assert "neither was storage" in ran.err


def test_a_lease(valetkey: Runner, broker: FakeBroker, storage: list[Any]) -> None:
    """Protects operators who have a lease id and no token."""
    lease = pb.Lease(id="lease-1", principal="key:trainer", resource="https://x.blob.core.windows.net/models")
    broker.diagnosis = pb.DiagnoseTokenResponse(known=True, lease=lease)
    ran = valetkey("doctor", "--lease", "lease-1", "--operation", "write")
    assert (ran.code, storage) == (0, [])
    assert "key:trainer" in ran.out
    assert (broker.requests[0].lease_id, broker.requests[0].operation) == ("lease-1", 4)


@pytest.mark.parametrize("words", [(), ("--url", "-", "--lease", "x"), ("--lease", "x", "--offline")])
def test_what_makes_no_sense_is_not_sent(valetkey: Runner, broker: FakeBroker, words: tuple[str, ...]) -> None:
    """Protects from an answer to another question."""
    ran = valetkey("doctor", *words)
    assert (ran.code, broker.requests) == (2, [])


def test_what_the_token_says_itself_is_the_cause() -> None:
    """An expired token is refused by storage with a word on its signature: nobody is to drop keys because of that."""
    expired, guessed = Finding("expired", "it ended", "", True), Finding("signature", "not accepted", "", True)
    assert [each.cause for each in _ordered([expired, guessed], None)] == ["expired", "signature"]
    assert _ordered([Finding("address", "bound", ""), guessed], None)[0].cause == "signature"
