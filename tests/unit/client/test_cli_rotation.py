"""`rotate`, `rollback` and `list-versions` against a fake broker: what is sent, what is shown, how it ends."""

import json
from pathlib import Path

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_access import NOW
from support.fake_broker import Failure, FakeBroker, connector
from support.fake_credentials import rotation
from support.fake_secrets import named_secret
from valetkey.v1 import credential_service_pb2 as pb
from valetkey.v1 import grant_service_pb2 as grant_pb

SECRET = "PLANTED~new.secret"
ROTATE = ("service-connector", "rotate", "a")
STATES = ("proving", "proving", "switching", "done")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.fixture
def stored(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    """A broker with the connector `a`, whose rotation is proved, switched to and done at the third look."""
    monkeypatch.setattr("valetkey.cli.rotation_progress._POLL_SECONDS", 0.01)
    broker.connectors = {"a": connector("a", "az://models")}
    broker.rotations = [
        rotation("a", "proving"),
        rotation("a", "proving", tries=2, message="not known yet"),
        rotation("a", "switching"),
        rotation("a", "done", to_version=2),
    ]
    return broker


def sent(broker: FakeBroker) -> pb.RotateCredentialRequest:
    """Returns the one rotation that was begun."""
    (request,) = [each for each in broker.requests if isinstance(each, pb.RotateCredentialRequest)]
    return request


def test_it_is_followed_to_its_end(valetkey: Runner, stored: FakeBroker, secret_file: Path) -> None:
    """The secret goes in and is shown nowhere; each state is told once, and at the end what is in use and kept."""
    granted = [grant_pb.GrantedConnector(name="a", uid="uid-of-a")]
    stored.grants["training"] = grant_pb.Grant(name="training", containers=["models"], connectors=granted)
    ran = valetkey(*ROTATE, "--client-secret", f"@{secret_file}", "--prove-for", "10m", "--expires-at", "365d")
    assert ran.code == 0, ran.err
    assert "`a`: version 2 (service-principal) is in use, version 1 is kept" in ran.out
    assert ran.err.count("proving") == 2
    assert "2 tries failed so far" in ran.err
    assert "switching" in ran.err
    request = sent(stored)
    assert (request.holder, request.azure_secret.client_secret) == (pb.CREDENTIAL_HOLDER_CONNECTOR, SECRET)
    assert (request.auth_method, request.prove_for.seconds) == (0, 600)
    assert request.HasField("expire_time")
    assert SECRET not in ran.out + ran.err


def test_another_auth_method_is_recognised_and_asked_about(
    valetkey: Runner, stored: FakeBroker, secret_file: Path
) -> None:
    """What grants come to mean is shown first; without a terminal nothing is changed unless --yes says so."""
    granted = [grant_pb.GrantedConnector(name="a", uid="uid-of-a")]
    stored.grants["training"] = grant_pb.Grant(name="training", containers=["models"], connectors=granted)
    given = ("--account-key", f"@{secret_file}", "--account-name", "contosoml")
    refused = valetkey(*ROTATE, *given)
    assert refused.code == 2
    assert "auth method becomes account-key" in refused.err
    assert not [each for each in stored.requests if isinstance(each, pb.RotateCredentialRequest)]
    assert valetkey(*ROTATE, *given, "--yes", "--no-wait").code == 0
    request = sent(stored)
    assert (request.auth_method, request.azure.storage_account) == (2, "contosoml")


@pytest.mark.parametrize("as_json", [False, True])
def test_one_that_fails_says_why_and_ends_with_1(
    valetkey: Runner, stored: FakeBroker, secret_file: Path, *, as_json: bool
) -> None:
    """A script sees that the old credential stays in use, in either form of the output."""
    stored.rotations = [rotation("a", "failed", reason="CLOUD_CREDENTIAL_REJECTED", message="refused by Entra")]
    ran = valetkey(*ROTATE, "--client-secret", f"@{secret_file}", *(("-o", "json") if as_json else ()))
    assert ran.code == 1
    if as_json:
        assert json.loads(ran.out)["reason"] == "CLOUD_CREDENTIAL_REJECTED"
        assert json.loads(ran.err)["error"]["reason"] == "CLOUD_CREDENTIAL_REJECTED"
    else:
        assert "the credential in use stays: the rotation failed: refused by Entra" in ran.err
        assert "reason CLOUD_CREDENTIAL_REJECTED" in ran.err


def test_status_and_abort(valetkey: Runner, stored: FakeBroker) -> None:
    """Both look at the rotation that is there; given with a credential they are a slip."""
    stored.rotations = [rotation("a", "proving", tries=1)]
    shown = valetkey(*ROTATE, "--status", "-o", "json")
    assert json.loads(shown.out)["state"] == "proving"
    assert "1 try failed so far" in valetkey(*ROTATE, "--status").out
    stored.rotations = [rotation("a", "withdrawing", message="key1 is in use: secret old")]
    assert "key1 is in use: secret old" in valetkey(*ROTATE, "--status").out
    stored.rotations = [rotation("a", "undoing"), rotation("a", "aborted")]
    aborted = valetkey(*ROTATE, "--abort")
    assert (aborted.code, "version 1 stays in use" in aborted.out) == (0, True)
    assert valetkey(*ROTATE, "--abort", "--status").code == 2
    stored.rotations = []
    assert "ROTATION_NOT_FOUND" in valetkey(*ROTATE, "--status").err


def test_a_connector_that_shares_a_secret_says_what_to_rotate(valetkey: Runner, stored: FakeBroker) -> None:
    """Nobody is asked for a secret that could not be used."""
    stored.connectors["a"].authentication_secret = "az_secret"
    ran = valetkey(*ROTATE)
    assert (ran.code, "valetkey secret rotate az_secret" in ran.err) == (1, True)


def test_named_secrets_too(valetkey: Runner, stored: FakeBroker, secret_file: Path) -> None:
    """`secret rotate`, `rollback` and `list-versions` ask for the secret's."""
    stored.secrets["az_secret"] = named_secret("az_secret", connectors=["a", "b"])
    of_secret = {"holder": pb.CREDENTIAL_HOLDER_SECRET, "connectors": ["a", "b"], "to_version": 3}
    stored.rotations = [rotation("az_secret", "done", **of_secret)]
    ran = valetkey("secret", "rotate", "az_secret", "--account-key", f"@{secret_file}")
    assert "Used by: a, b." in ran.out
    assert sent(stored).holder == pb.CREDENTIAL_HOLDER_SECRET
    assert valetkey("secret", "rollback", "az_secret", "--version", "2").code == 0
    back = stored.requests[-1]
    assert (back.holder, back.version) == (pb.CREDENTIAL_HOLDER_SECRET, 2)
    listed = valetkey("secret", "list-versions", "az_secret", "-o", "json")
    assert [(each["version"], each["in_use"]) for each in json.loads(listed.out)] == [(3, True), (2, False)]
    assert "kept" in valetkey("service-connector", "list-versions", "a").out


def test_ctrl_c_says_that_it_goes_on(
    valetkey: Runner, stored: FakeBroker, secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops looking is told that the rotation has not stopped, and how to see it and to take it back."""

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("valetkey.cli.rotation_progress.time.sleep", interrupted)
    for begun in ((*ROTATE, "--client-secret", f"@{secret_file}"), ("service-connector", "rollback", "a")):
        ran = valetkey(*begun)
        assert ran.code == 130
        for word in ("goes on at the broker", "service-connector rotate a --status", "rotate a --abort"):
            assert word in ran.err
        stored.rotations = [rotation("a", "proving")]
    assert "taken back at the broker all the same" in valetkey(*ROTATE, "--abort").err


def test_an_end_that_was_noted_is_not_dropped_in_silence(
    valetkey: Runner, stored: FakeBroker, secret_file: Path
) -> None:
    """`expiring` would not warn of the new one: so it is said, with the command that notes its end."""
    stored.connectors["a"].expire_time.FromDatetime(NOW)
    stored.secrets["az_secret"] = named_secret("az_secret", connectors=["a"])
    stored.secrets["az_secret"].expire_time.FromDatetime(NOW)
    given = ("--client-secret", f"@{secret_file}", "--no-wait")
    stored.rotations = [rotation("a", "proving")]
    assert "valetkey service-connector update a --expires-at DATE" in valetkey(*ROTATE, *given).err
    assert "--expires-at" not in valetkey(*ROTATE, *given, "--expires-at", "365d").err
    stored.rotations = [rotation("az_secret", "proving", holder=pb.CREDENTIAL_HOLDER_SECRET)]
    key = ("--account-key", f"@{secret_file}", "--no-wait")
    assert "valetkey secret update az_secret --expires-at DATE" in valetkey("secret", "rotate", "az_secret", *key).err
    # One that the broker knows all the same, as a certificate's, needs no note.
    stored.rotations = [rotation("a", "done", to_version=2)]
    assert "--expires-at" not in valetkey(*ROTATE, *given).err


def test_a_rollback_says_what_it_goes_back_to(valetkey: Runner, stored: FakeBroker) -> None:
    """The version before is 2: that is tried and used again; a second one would go forward again, so it asks."""
    back = ("service-connector", "rollback", "a")
    stored.rotations = [rotation("a", state, source="rollback", from_version=3, to_version=4) for state in STATES]
    ran = valetkey(*back, "--version", "2")
    assert "the credential of before is tried" in ran.err
    assert "new credential" not in ran.err
    assert "back to what version 2 was" in ran.out
    assert "as version 4. Version 3," in ran.out
    stored.rotations = [rotation("a", "done", source="rollback", from_version=2, to_version=3)]
    refused = valetkey(*back)
    assert (refused.code, "version 2 is what was rolled away from" in refused.err) == (2, True)
    assert not isinstance(stored.requests[-1], pb.RollbackCredentialRequest)
    assert valetkey(*back, "--yes").code == 0
    assert valetkey(*back, "--version", "2").code == 0


def test_a_rollback_is_refused_in_the_words_of_a_rollback(valetkey: Runner, stored: FakeBroker) -> None:
    """A connector that uses a secret is sent to that secret's rollback, not to its list of versions."""
    for method, told in (("ListCredentialVersions", "list-versions az"), ("RollbackCredential", "rollback az")):
        stored.failures[method] = Failure(grpc.StatusCode.INVALID_ARGUMENT, told)
    ran = valetkey("service-connector", "rollback", "a")
    assert (ran.code, "rollback az" in ran.err) == (1, True)
