"""`valetkey token watch` against a fake broker, and the purpose of a token."""

import json
import os
import signal
import subprocess
import sys

import grpc
import pytest

from support.children import start
from support.cli_runner import Runner
from support.fake_broker import API_KEY, SAS, Failure, FakeBroker
from support.watch_messages import end, step
from valetkey.v1 import common_pb2

COMMAND = [sys.executable, "-c", "from valetkey.cli import main; main()"]
WATCH = ("token", "watch", "--resource", "az://models", "--permissions", "read,list")


def test_each_token_is_one_line_of_json(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects scripts that read line by line; the end is an error with its reason."""
    broker.stream = [step(1), step(2), end("GRANT_GONE", "no grant")]
    ran = valetkey(*WATCH, "--ttl", "5m", "--connector", "c", "--purpose", "run 7", "-o", "json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [(answer["lease_id"], answer["sas_token"], answer["grant"]) for answer in found] == [
        ("lease-1", SAS, "training"),
        ("lease-2", SAS, "training"),
    ]
    assert json.loads(ran.err) == {"error": {"message": "no grant", "reason": "GRANT_GONE"}}
    sent = broker.requests[0].request
    assert (sent.ttl.seconds, sent.connector, sent.purpose, list(sent.permissions)) == (300, "c", "run 7", [1, 6])


def test_a_shorter_life_than_asked_is_noted_once(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from a line for each of a day's tokens."""
    tokens = [step(1), step(2), step(3)]
    for each in tokens:
        each.token.ttl_limited_by = common_pb2.TTL_LIMIT_GRANT_MAX_TTL
    broker.stream = [*tokens, end("GRANT_GONE")]
    ran = valetkey(*WATCH, "--ttl", "2h", "-o", "sas")
    assert ran.err.count("the token ends earlier than asked") == 1


@pytest.mark.parametrize(("output", "line"), [("sas", SAS), ("table", SAS), ("url", f"https://contosoml.*{SAS}")])
def test_other_forms(output: str, line: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the forms that `token issue` has too."""
    broker.stream = [step(1), step(2), end("GRANT_GONE")]
    ran = valetkey(*WATCH, "-o", output)
    assert ran.out.count(line.rpartition(".*")[2]) == 2
    assert ran.err == "Error: over\nreason GRANT_GONE\n"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("GRANT_GONE", 3),
        ("CONNECTOR_GONE", 3),
        ("IDENTITY_REVOKED", 3),
        ("IDENTITY_EXPIRED", 3),
        ("UNAVAILABLE", 5),
        ("ISSUER_UNAVAILABLE", 5),
    ],
)
def test_the_end_decides_the_exit_code(reason: str, code: int, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects scripts that call again only where that makes sense."""
    broker.stream = [step(1), end(reason)]
    ran = valetkey(*WATCH)
    assert (ran.code, ran.err.startswith("Error: over\n")) == (code, True)


@pytest.mark.parametrize("reason", ["SHUTDOWN", "UNSPECIFIED"])
def test_a_restart_is_got_over(reason: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what runs for weeks from each restart of the broker; people are told on standard error."""
    broker.streams = [[step(1, life=60), end(reason, "the broker stops")], [step(2), end("GRANT_GONE")]]
    ran = valetkey(*WATCH, "-o", "sas")
    assert (ran.code, ran.out) == (3, f"{SAS}\n{SAS}\n")
    assert ran.err == "Note: the broker stops; trying again\nError: over\nreason GRANT_GONE\n"


def test_a_broker_that_stays_away_is_exit_5(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects scripts: what a network cut and nothing mended is worth another try, and no revocation."""
    broker.streams = [
        [
            step(1),
            lambda: broker.failures.update(WatchToken=Failure(grpc.StatusCode.UNKNOWN, "Stream removed", bare=True)),
        ]
    ]
    ran = valetkey(*WATCH, "-o", "sas")
    assert (ran.code, ran.out) == (5, f"{SAS}\n")
    assert ran.err.splitlines()[-1].startswith(f"Error: the connection to the broker at {broker.endpoint} was lost: ")


def test_a_stream_that_is_refused(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the refusal from looking like an end."""
    broker.failures["WatchToken"] = Failure(grpc.StatusCode.PERMISSION_DENIED, "no grant lets you")
    ran = valetkey(*WATCH)
    assert (ran.code, ran.out, ran.err.startswith("Error: no grant lets you\n")) == (3, "", True)


def test_ctrl_c_is_quiet_and_tokens_come_at_once(broker: FakeBroker) -> None:
    """Protects pipes: a token is not held back until the buffer is full; Ctrl-C exits 130 without a word."""
    broker.stream = [step(1), 60.0]
    env = {**os.environ, "VALETKEY_ENDPOINT": broker.endpoint, "VALETKEY_CA_FILE": str(broker.ca_file)}
    process = start(
        [*COMMAND, *WATCH, "-o", "sas"],
        env={**env, "VALETKEY_API_KEY": API_KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == f"{SAS}\n"
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "")


def test_purpose_of_a_single_token(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the caller's words on their way to the ledger, and the grant in the answer."""
    answer = valetkey("token", "issue", *WATCH[2:], "--purpose", "run 7", "-o", "json").json
    assert (broker.requests[0].purpose, answer["grant"]) == ("run 7", "training")
    assert "grant         │ training" in valetkey("token", "issue", *WATCH[2:]).out
