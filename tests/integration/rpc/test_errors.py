"""How errors travel: every reason with its code, and nothing at all of an unexpected one."""

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from support.captured_log import Log
from support.failed_calls import failure
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger, ledger_down
from support.inproc import (
    CONSUMER_KEY,
    OPERATOR_KEY,
    SECRET,
    Broker,
    bearer,
    error_detail,
    new_connector,
    running_broker,
)
from valetkey.v1 import errors_pb2
from valetkey.v1.connector_service_pb2 import VerifyConnectorRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Check, CheckOutcome, Connector, Credential
from valetkey_broker.ports import AccountSearch
from valetkey_broker.rpc.checklist_messages import checklist
from valetkey_broker.rpc.error_status import to_status

pytestmark = pytest.mark.unmeasured

PROTO = Path(__file__).parents[3] / "proto" / "valetkey" / "v1" / "errors.proto"
_VALUE = re.compile(r"((?:  // .*\n)+)  ERROR_REASON_([A-Z_]+) = \d+;")
_EXAMPLE = re.compile(r"Example: (\{.+?\})\.|Example metadata: none[.;]")
_DOCUMENTED = re.compile(r"  // ([A-Z_]+): (?:.*\n  // )*.*\n  ERROR_REASON_([A-Z_]+) = ([1-9]\d*);")
VERIFY = VerifyConnectorRequest(name="azure-blob-demo")


def documented() -> dict[str, str]:
    """Returns reason to status code as the API's comments promise them."""
    return {reason: code for code, reason, _ in _DOCUMENTED.findall(PROTO.read_text())}


def test_reasons_are_those_of_the_api() -> None:
    """The broker's reasons and the API's enum name the same things, and each has its code documented."""
    wire = {name.removeprefix("ERROR_REASON_") for name, _ in errors_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
    assert {reason.name for reason in Reason} == wire == set(documented())


@pytest.mark.parametrize("name", errors_pb2.ErrorReason.keys())
def test_every_reason_has_an_example(name: str) -> None:
    """Whoever writes a client sees for each reason which metadata to expect: strings, under plain names."""
    comments = {value: " ".join(text.replace("  // ", "").split()) for text, value in _VALUE.findall(PROTO.read_text())}
    example = _EXAMPLE.search(comments[name.removeprefix("ERROR_REASON_")])
    assert example is not None
    metadata = json.loads(example[1]) if example[1] else {}
    assert all(re.fullmatch("[a-z][a-z0-9_]*", key) and isinstance(value, str) for key, value in metadata.items())


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
async def test_round_trip(stocked: Broker, reason: Reason) -> None:
    """Every reason arrives with the documented code, its words, its metadata and its delay."""
    sent = BrokerError(reason, "what, and “why” (50 % off)\nnext line", {"step": "s\u00fcd", "n": ""}, retry_after=1.25)
    stocked.cloud.fail("log_in", sent)
    told = await failure(stocked.connectors.VerifyConnector(VERIFY, metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode[documented()[reason.name]], reason.name)
    assert told.message == sent.message
    assert told.metadata == sent.metadata
    assert told.retry_after == 1.25


async def test_no_delay_where_none_is_known(stocked: Broker) -> None:
    """A caller can tell "come back in 0 s" from "nobody knows"."""
    stocked.cloud.fail("log_in", Reason.CLOUD_UNAVAILABLE)
    told = await failure(stocked.connectors.VerifyConnector(VERIFY, metadata=bearer(OPERATOR_KEY)))
    assert told.retry_after is None


async def test_long_words_arrive_cut(stocked: Broker) -> None:
    """An error longer than metadata may be arrives, cut, instead of being lost with its code and reason."""
    stocked.cloud.fail("log_in", BrokerError(Reason.CLOUD_UNAVAILABLE, "x" * 50_000, {"step": "y" * 50_000}))
    told = await failure(stocked.connectors.VerifyConnector(VERIFY, metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "CLOUD_UNAVAILABLE")
    assert told.message.startswith("xxx")
    assert told.message.endswith("…")


@pytest.mark.parametrize("character", ["x", "%", "ü", "“", "🔑"])
@pytest.mark.parametrize("metadata", [{}, {"step": "short"}, {str(n): "{c}" * 2_000 for n in range(6)}], ids=len)
def test_no_status_outgrows_its_trailer(character: str, metadata: dict[str, str]) -> None:
    """Clients lose a trailer beyond 8 KiB, code, reason and all: as gRPC encodes it, none gets there."""
    sent = {name: value.replace("{c}", character) for name, value in metadata.items()}
    error = BrokerError(Reason.CLOUD_UNAVAILABLE, character * 5_000, sent, retry_after=1.0)
    error.checks = [Check("step", CheckOutcome.FAILED, character * 900, character * 500, "one", "demo")] * 50
    _, message, trailer = to_status(error, "r" * 64, None)
    encoded = [quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")]
    encoded += [base64.b64encode(value).decode() if isinstance(value, bytes) else value for _, value in trailer]
    overhead = sum(32 + len(name) for name in ("grpc-message", "grpc-status", "content-type", *dict(trailer)))
    assert sum(map(len, encoded)) + overhead < 8 * 1024
    assert len(message) >= 150


async def test_google_rpc_details(stocked: Broker) -> None:
    """A client that knows google.rpc alone reads the code, the words, the reason, its metadata and the delay."""
    sent = BrokerError(Reason.CLOUD_THROTTLED, "slow down", {"step": "log in to Entra"}, retry_after=2.5)
    stocked.cloud.fail("log_in", sent)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stocked.connectors.VerifyConnector(VERIFY, metadata=bearer(OPERATOR_KEY))
    trailers: dict[str, Any] = dict(tuple(caught.value.trailing_metadata() or ()))
    status = Status.FromString(trailers["grpc-status-details-bin"])
    assert (status.code, status.message) == (caught.value.code().value[0], caught.value.details())
    info, delay = ErrorInfo(), RetryInfo()
    assert [detail.Unpack(info) or detail.Unpack(delay) for detail in status.details[:3]] == [False, True, True]
    assert info == ErrorInfo(reason="CLOUD_THROTTLED", domain="valetkey", metadata={"step": "log in to Entra"})
    assert delay.retry_delay.ToMilliseconds() == 2500


def test_every_status_has_one_detail() -> None:
    """An unexpected error is INTERNAL with a request id and no reason."""
    code, message, trailer = to_status(None, "id-1", None)
    assert code is grpc.StatusCode.INTERNAL
    assert "id-1" in message
    assert [name for name, _ in trailer] == ["grpc-status-details-bin", "x-request-id"]


class Broken(FakeCloud):
    """Fails as no adapter should: with an exception of its own that quotes a secret, and has a cause that does."""

    def _break(self) -> Any:
        raise RuntimeError(f"PLANTED secret {SECRET}") from KeyError(f"PLANTED cause {SECRET}")

    async def find_accounts(self, connector: Connector, credential: Credential) -> AccountSearch:
        return self._break()

    async def signing_key(self, *args: Any, **kwargs: Any) -> Any:
        return self._break()


async def test_unexpected_error_tells_only_a_request_id(log: Log, tmp_path: Path) -> None:
    """The caller gets a request id; the log has, under it, types and places, and no text of the exception."""
    async with running_broker(tmp_path, cloud=Broken({"demoaccount": ["demo"]})) as broker:
        await broker.ready()
        told = await failure(broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode.INTERNAL, "UNSPECIFIED")
    assert told.metadata == {}
    assert told.message == f"internal error; the broker's log has it under {told.request_id}"
    assert "PLANTED" not in str(told.error)
    (line,) = log.events("unexpected error")
    assert line["request_id"] == told.request_id
    assert line["method"] == "/valetkey.v1.ConnectorService/CreateConnector"
    assert {"builtins.RuntimeError", "builtins.KeyError"} <= set(line["frames"])
    assert any("test_errors.py" in frame and frame.endswith("_break") for frame in line["frames"])
    assert "PLANTED" not in log.text
    assert SECRET not in log.text


async def test_unexpected_error_in_the_background(log: Log, tmp_path: Path) -> None:
    """A shared task that fails unexpectedly tells each waiting caller no more, and nothing is cached of it."""
    cloud = FakeCloud({"demoaccount": ["demo"]})
    async with running_broker(tmp_path, cloud=cloud) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        healthy = type(cloud).signing_key
        cloud.signing_key = Broken.signing_key.__get__(Broken())  # type: ignore[method-assign]
        request = IssueTokenRequest(resource_id="demo", permissions=[1])
        told = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
        assert told.short == (grpc.StatusCode.INTERNAL, "UNSPECIFIED")
        cloud.signing_key = healthy.__get__(cloud)  # type: ignore[method-assign]
        assert (await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))).sas_token
    assert "PLANTED" not in log.text


async def test_ledger_that_cannot_record(tmp_path: Path) -> None:
    """No token leaves that is not recorded: with the ledger failing the caller gets an error, not the token."""
    ledger = FakeLedger()
    async with running_broker(tmp_path, ledger=ledger) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        ledger.fail_with = ledger_down()
        request = IssueTokenRequest(resource_id="demo", permissions=[1])
        told = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
    assert told.retry_after
    assert "sig=" not in str(told.error)


async def test_a_failed_verification_brings_its_checklist(stocked: Broker) -> None:
    """Lines and their remedies arrive beside the typed error; what failed is kept where not all fit."""
    stocked.cloud.fail("signing_key", BrokerError(Reason.CLOUD_PERMISSION_MISSING, "no key", mend="paste this"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stocked.connectors.VerifyConnector(VERIFY, metadata=bearer(OPERATOR_KEY))
    trailers: dict[str, Any] = dict(tuple(caught.value.trailing_metadata() or ()))
    status, checklist = Status.FromString(trailers["grpc-status-details-bin"]), errors_pb2.Checklist()
    assert status.details[-1].Unpack(checklist)
    failed = [(check.step, check.message, check.mend) for check in checklist.checks if check.outcome == 2]
    assert failed
    assert set(failed) == {("get a signing key", "no key", "paste this")}


def test_what_failed_is_the_last_to_be_left_out() -> None:
    """A checklist of hundreds of accounts still says what is wrong."""
    checks = [Check("list containers", CheckOutcome.OK, "x" * 60, "", f"account{n}") for n in range(500)]
    checks.insert(250, Check("get a signing key", CheckOutcome.FAILED, "no", "paste this", "sick"))
    cut = checklist(checks, 2_000)
    assert cut is not None
    assert cut.ByteSize() < 2_000
    assert 5 < len(cut.checks) < 50
    assert cut.checks[-1].account == "sick"
    assert checklist(checks, 50) is None


async def test_the_callers_trace_is_in_log_and_error(log: Log, stocked: Broker) -> None:
    """Who looks a trace up finds what the broker said to it; what is no trace leaves nothing."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for sent, told in ((f"00-{trace}-00f067aa0ba902b7-01", trace), (f"00-{trace}-PLANTED-01", "")):
        before = len(log.lines)
        metadata = (*bearer(CONSUMER_KEY), ("traceparent", sent))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stocked.connectors.VerifyConnector(VERIFY, metadata=metadata)
        assert error_detail(refused.value).trace_id == told
        (line,) = [line for line in log.lines[before:] if line["event"] == "call"]
        assert line.get("trace_id", "") == told
    assert "PLANTED" not in log.text
