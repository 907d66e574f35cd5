"""`TokenSource`: a current token, whatever happens in between. Each test is one thing that happens."""

import gc
import itertools
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

import valetkey
from support.stopwatch import ends_within
from support.waiting import comes_true
from support.warm import run_installed
from valetkey import TokenSource
from valetkey.calls import retries
from valetkey.renewal import attempts
from valetkey.testing import FakeBroker, fake_broker
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import token_service_pb2 as token_pb

SECOND = timedelta(seconds=1)


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    with FakeBroker(ttl=timedelta(minutes=15)) as running:
        yield running


@pytest.fixture(autouse=True)
def _of_others() -> Iterator[None]:
    """Leaves out what runs of sources of other tests, which may not be collected yet."""
    _earlier.update(threading.enumerate())
    yield
    _earlier.clear()


_earlier: set[threading.Thread] = set()


def threads() -> list[str]:
    """Returns what runs of this test's sources."""
    running = [each for each in threading.enumerate() if each not in _earlier]
    return [each.name for each in running if each.name.startswith("valetkey")]


def until(source: TokenSource, seconds: float) -> set[str]:
    """Returns the leases that are current in the next seconds; fails where there is none at any time."""
    end, found = time.monotonic() + seconds, set()
    while time.monotonic() < end:
        found.add(source.current().lease_id)
        time.sleep(0.02)
    return found


def leases(source: TokenSource, number: int) -> set[str]:
    """Returns the leases that are current until there were so many; fails where there is none at any time."""
    end, found = time.monotonic() + 60, set()
    while len(found) < number and time.monotonic() < end:
        found.add(source.current().lease_id)
        time.sleep(0.02)
    return found


def refused(source: TokenSource, seconds: float = 20) -> valetkey.ValetKeyError:
    """Returns the error that a source comes to raise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            source.current()
        except valetkey.ValetKeyError as error:
            return error
        time.sleep(0.05)
    raise AssertionError("no error came")


def comes_back(source: TokenSource) -> None:
    """Waits until there is a token again: gRPC itself looks for a server only every few seconds."""
    assert comes_true(lambda: current_or_none(source) is not None)


def current_or_none(source: TokenSource) -> valetkey.Token | None:
    try:
        return source.current()
    except valetkey.UnavailableError:
        return None


@pytest.fixture
def _early_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the next token of a stream come so early that no busy machine takes it for late, and asks once more."""
    monkeypatch.setattr(fake_broker, "_RENEWED_AT", 0.2)


@pytest.mark.usefixtures("_early_renewals")
def test_a_token_is_current_for_ever(fake: FakeBroker) -> None:
    """Protects long jobs: tokens are renewed ahead of their end, over one stream, and none is given that is over."""
    with fake.token_source("az://models/runs/", ttl=6 * SECOND) as source:
        token = source.current()
        assert (token.url, token.sas) == ("https://contoso.blob.core.windows.net/models/runs", token.sas_token)
        assert token.expires_at == token.expire_time
        assert len(leases(source, 3)) == 3
        assert fake.calls == ["WatchToken"]
    with pytest.raises(valetkey.ValetKeyError, match="this token source is closed"):
        source.current()
    assert threads() == []


@pytest.mark.usefixtures("_early_renewals")
@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_off_is_harmless(minutes: int, fake: FakeBroker) -> None:
    """Protects machines whose clock is wrong: a life is reckoned by the broker's clock alone."""
    fake.clock_offset = timedelta(minutes=minutes)
    with fake.token_source("az://models", ttl=6 * SECOND) as source:
        assert len(leases(source, 3)) == 3
        assert fake.calls == ["WatchToken"]


def test_a_thousand_threads_at_once_are_one_call(fake: FakeBroker) -> None:
    """Protects the broker from its users' threads, at the first token and at a refused one alike."""
    fake.delay = 0.5
    with fake.token_source("az://models") as source, ThreadPoolExecutor(1000) as pool:
        (first,) = set(pool.map(lambda _: source.current(), range(1000)))
        (second,) = set(pool.map(lambda _: source.renew(first), range(1000)))
    assert first.lease_id != second.lease_id
    assert len(fake.calls) == 2


def test_sources_of_one_scope_share_a_stream(fake: FakeBroker) -> None:
    """Protects the broker's slots for streams; another scope is another stream, and the last user ends one."""
    one, two, other = (fake.token_source(name) for name in ("az://a", "az://a", "az://b"))
    assert (one.current(), other.current().lease_id) == (two.current(), "fake-lease-2")
    one.close()
    assert two.current().lease_id == "fake-lease-1"
    two.close()
    other.close()
    assert (fake.calls, threads()) == (["WatchToken", "WatchToken"], [])


def test_collected_without_close(fake: FakeBroker) -> None:
    """Protects programs that forget: with the last source goes its stream, and with it its threads."""
    source = fake.token_source("az://models")
    source.current()
    assert threads()
    del source
    gc.collect()
    assert comes_true(lambda: threads() == [])


def test_a_rotation_brings_a_token_at_once(fake: FakeBroker) -> None:
    """Protects against a token of a credential that is about to be withdrawn."""
    with fake.token_source("az://models") as source:
        first = source.current()
        fake.rotate()
        assert comes_true(lambda: source.current() != first)
        assert source.current().credential_version == 2


def test_a_broker_that_is_away_at_first_use(fake: FakeBroker) -> None:
    """Protects whoever starts a job: the endpoint and the cause are said in seconds, and later it works."""
    fake.stop()
    source = fake.token_source("az://models")
    with ends_within(), pytest.raises(valetkey.BrokerUnreachableError) as caught:
        source.current()
    assert fake.endpoint in str(caught.value)
    assert "refused" in str(caught.value)
    fake.start()
    comes_back(source)
    source.close()


def test_a_broker_that_restarts_is_not_noticed(fake: FakeBroker) -> None:
    """Protects running jobs from an upgrade of the broker: the old token is served meanwhile."""
    with fake.token_source("az://models", ttl=6 * SECOND) as source:
        first = source.current().lease_id
        fake.stop()
        assert until(source, 1) == {first}
        fake.start()
        assert len(until(source, 5)) >= 2


def test_a_broker_that_is_away_for_longer_than_a_token_lives(fake: FakeBroker) -> None:
    """Protects against a 403 by storage that explains nothing: an error says why, and ends with the outage."""
    with fake.token_source("az://models", ttl=2 * SECOND) as source:
        source.current()
        fake.stop()
        error = refused(source)
        assert isinstance(error, valetkey.BrokerUnreachableError)
        assert str(error).startswith("the last token for az://models is over, and there is no new one: cannot reach")
        assert fake.endpoint in str(error)
        fake.start()
        comes_back(source)


def test_a_stream_that_is_cut_again_and_again(fake: FakeBroker) -> None:
    """Protects users behind proxies that let no stream live: calls take over, and no token is asked for needlessly."""
    with fake.token_source("az://models", ttl=3 * SECOND) as source:
        deadline = time.monotonic() + 30
        while "IssueToken" not in fake.calls and time.monotonic() < deadline:
            source.current()
            fake.cut()
            time.sleep(0.1)
        assert fake.calls[:4] == ["WatchToken", "WatchToken", "WatchToken", "IssueToken"]
        # That of the last stream, and at least one more than that of the first call.
        assert len(leases(source, 3)) == 3
        assert set(fake.calls[4:]) == {"IssueToken"}


def test_a_stream_that_is_cut_every_two_seconds(fake: FakeBroker) -> None:
    """Protects jobs behind a network that lets nothing live: they never lack a token, and hardly more are asked for."""
    over = threading.Event()

    def cut() -> None:
        while not over.wait(2):
            fake.cut()

    with fake.token_source("az://models", ttl=10 * SECOND) as source, ThreadPoolExecutor(1) as pool:
        source.current()
        cutting = pool.submit(cut)
        try:
            leases = until(source, 14)
        finally:
            over.set()
        cutting.result()
    assert "IssueToken" in fake.calls
    assert 3 <= len(leases) <= len(fake.calls) <= 9


class BusyOnce(FakeBroker):
    """A broker that answers as many calls as it is told with UNAVAILABLE, as one whose Vault is sealed for a moment."""

    busy = 0

    def _enter(self, method: str, context: Any, request: Any) -> None:
        if self.busy:
            self.busy -= 1
            reason = errors_pb.ERROR_REASON_VAULT_UNAVAILABLE
            self._abort(context, grpc.StatusCode.UNAVAILABLE, "Vault is sealed; try again", reason)
        super()._enter(method, context, request)


@pytest.mark.parametrize("by", ["WatchToken", "IssueToken"])
def test_a_503_at_the_moment_of_a_renewal(by: str, caplog: pytest.LogCaptureFixture) -> None:
    """Protects jobs from an error that is over in a moment: the old token is served, and nobody hears of it."""
    with BusyOnce() as fake, fake.token_source("az://models", ttl=3 * SECOND) as source:
        while by not in fake.calls:  # Three streams that are cut lead to calls.
            source.current()
            if by == "IssueToken":
                fake.cut()
                time.sleep(0.1)
        fake.busy = 1
        if by == "WatchToken":
            fake.cut()
        found, deadline = set(), time.monotonic() + 60
        while (fake.busy or len(found) < 2) and time.monotonic() < deadline:
            found.add(source.current().lease_id)
            time.sleep(0.02)
        assert (fake.busy, len(found) >= 2) == (0, True)
    assert all("sig" not in record.getMessage() for record in caplog.records)


def test_a_stream_that_brings_nothing(fake: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects users behind proxies that keep a stream's answers until it ends: a call is made instead."""
    monkeypatch.setattr(attempts, "_PATIENCE", 0.02)
    fake.hold_back = True
    with fake.token_source("az://models", timeout=10) as source:
        comes_back(source)
        assert "IssueToken" in fake.calls


def test_a_stream_that_is_late(fake: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a broker that lives and forgets: the next token is asked for before the last one ends."""
    monkeypatch.setattr(fake_broker, "_RENEWED_AT", 100.0)
    with fake.token_source("az://models", ttl=3 * SECOND) as source:
        assert len(leases(source, 2)) == 2
        assert set(fake.calls) == {"WatchToken"}


class EndsWithIdentity(FakeBroker):
    """A broker whose tokens end with the caller's identity, and are the last ones of their streams."""

    def _token(self, request: token_pb.IssueTokenRequest) -> token_pb.IssueTokenResponse:
        answer = super()._token(request)
        answer.ttl_limited_by = common_pb.TTL_LIMIT_IDENTITY_END
        return answer


def test_an_identity_that_ends_and_is_renewed_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects pods: a fresh token in the file begins another stream, before the old one takes the last token along."""
    monkeypatch.setattr(fake_broker, "_RENEWED_AT", 100.0)
    path = tmp_path / "token"
    with EndsWithIdentity() as fake:
        path.write_text(fake.api_key)
        with fake.token_source("az://models", api_key_file=None, token_file=path, ttl=6 * SECOND) as source:
            first = source.current()
            fake.api_key = "vk_" + "H" * 43
            path.write_text(fake.api_key)
            assert comes_true(lambda: source.current() != first)
        assert fake.calls == ["WatchToken", "WatchToken"]


def test_an_identity_file_that_becomes_another_principals(tmp_path: Path) -> None:
    """Protects whoever puts another key in place: no stream goes on as the old one, at once where that is wanted."""
    old, new = ("vk_" + letter * 43 for letter in "ON")
    path = tmp_path / "key"
    path.write_text(old)
    with (
        AnyKeyBroker(ttl=2 * SECOND) as broker,
        broker.token_source("az://models", ["read"], api_key_file=path) as source,
    ):
        leases(source, 2)
        assert broker.shown_in_turn() == [old]
        path.write_text("")  # as while it is being written
        leases(source, 3)
        assert broker.shown_in_turn() == [old]
        (tmp_path / "new").write_text(new)
        (tmp_path / "new").rename(path)
        leases(source, 4)
        assert broker.shown_in_turn() == [old, new]
        (tmp_path / "old").write_text(old)
        (tmp_path / "old").rename(path)
        source.renew(source.current())
        assert broker.shown_in_turn() == [old, new, old]


class AnyKeyBroker(FakeBroker):
    """Takes any key, and notes which were shown for tokens."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.shown: list[str] = []

    def shown_in_turn(self) -> list[str]:
        """Returns each key that took the place of another: a busy machine may ask twice with the same one."""
        return [key for key, _ in itertools.groupby(self.shown)]

    def _enter(self, method: str, context: grpc.ServicerContext, request: token_pb.IssueTokenRequest | None) -> None:
        self.api_key = dict(context.invocation_metadata())["authorization"].removeprefix("Bearer ")
        self.shown.append(self.api_key)
        super()._enter(method, context, request)


def test_a_grant_that_goes_in_mid_run(fake: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """Protects against silence: the token is served while it lives, a warning comes at once, the reason at the end."""
    with fake.token_source("az://models", ttl=6 * SECOND) as source:
        first = source.current()
        fake.refuse("az://models", "no grant lets key:fake use az://models")
        assert comes_true(lambda: "cannot be renewed: no grant lets key:fake" in caplog.text)
        assert source.peek() == first
        error = refused(source)
        assert isinstance(error, valetkey.PermissionDeniedError)
        assert (error.reason, error.request_id) == ("RESOURCE_DENIED", "fake-request")
        assert str(error).endswith("no grant lets key:fake use az://models")
        fake.allow()
        assert source.current()


def test_a_ttl_that_is_shorter_than_a_round_trip(fake: FakeBroker) -> None:
    """Protects against tokens that are over before they come: what to change is said at once."""
    fake.delay = 1.2
    too_short = pytest.raises(valetkey.InvalidArgumentError, match=r"lives 1 s is of no use where the answer took \d")
    with fake.token_source("az://models", ttl=SECOND) as source, too_short:
        source.current()


def test_a_wrong_ca_is_named(fake: FakeBroker) -> None:
    """Protects from gRPC's "deadline exceeded", which is what many hear of a certificate that is not trusted."""
    with (
        FakeBroker() as other,
        fake.token_source("az://models", ca_file=other.ca_file) as source,
        ends_within(),
        pytest.raises(valetkey.BrokerTlsError, match=r"not signed by a CA.* check the CA file"),
    ):
        source.current()


def test_a_token_file_that_is_missing_empty_or_rotated(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects pods: their token's file comes late, is written anew each hour, and is not always whole."""
    path = tmp_path / "token"
    with fake.token_source("az://models", api_key_file=None, token_file=path, ttl=2 * SECOND) as source:
        with pytest.raises(valetkey.SettingsError, match=f"there is no file {path}"):
            source.current()
        path.write_text("")
        with pytest.raises(valetkey.SettingsError, match=f"{path}.* empty"):
            source.current()
        path.write_text(fake.api_key)
        first = source.current()
        path.unlink()
        fake.cut()
        assert source.current() == first
        fake.api_key = "vk_" + "G" * 43
        path.write_text(fake.api_key)
        assert len(until(source, 2)) >= 2


def test_what_it_shows_and_how_it_travels(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects signatures from logs and pickles, and libraries that take two of the same repr for the same."""
    with fake.token_source("az://models", ("read",), ttl=60 * SECOND) as source:
        token = source.current()
        travelled = pickle.dumps(source)
        assert (token.sas.encode() in travelled, b"sig" in travelled) == (False, False)
        with pickle.loads(travelled) as again:  # noqa: S301 (its own)
            assert again.current() == token
            assert repr(again) == repr(source)
        for word in ("az://models", "'read'", "60", fake.endpoint, str(fake.api_key_file)):
            assert word in repr(source)
        assert "sig" not in repr(source)
    shown = repr(fake.token_source("az://models", api_key_file=None, api_key=fake.api_key))
    assert ("with the SHA-256 " in shown, fake.api_key in shown) == (True, False)
    with pytest.raises(pickle.PicklingError, match="expected api_key_file"):
        pickle.dumps(fake.token_source("az://models", api_key_file=None, api_key=fake.api_key))
    with pytest.raises(valetkey.InvalidArgumentError, match="is one string"):
        fake.token_source("az://models", "read")


PROGRAM = """
import multiprocessing, os, sys, threading
import valetkey

def lease(source):
    return source.current().lease_id

if __name__ == "__main__":
    source = valetkey.TokenSource("az://models", ["read"])
    first = lease(source)
    child = os.fork()
    if not child:
        served = lease(source) == first
        # It is renewed ahead of its end, which all who were forked at once would have to wait for at once.
        served = served and "valetkey-feed" in [each.name for each in threading.enumerate()]
        served = served and source.renew(source.current()).lease_id != first
        source.close()
        os._exit(0 if served else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert source.renew(source.current()).lease_id != first
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(lease, (source,))
    print("good")
"""


@pytest.mark.unmeasured  # coverage (7.17.3) may keep a worker from ending
def test_forked_and_spawned_after_use(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects data loaders: a forked child serves the token it has and renews by itself, and so does its parent."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run_installed([sys.executable, program], environment={**os.environ, **fake.environ()})
    assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr
    assert "fork" not in done.stderr  # gRPC says so where it could not ready itself for the child


async def test_tasks_share_it_all(fake: FakeBroker) -> None:
    """Protects asynchronous programs: the same source, stream and errors, and a hundred tasks are one call."""
    import asyncio

    async with valetkey.AsyncTokenSource(
        "az://models", ["read"], endpoint=fake.endpoint, ca_file=fake.ca_file, api_key_file=fake.api_key_file
    ) as source:
        (first,) = set(await asyncio.gather(*(source.current() for _ in range(100))))
        (second,) = set(await asyncio.gather(*(source.renew(first) for _ in range(100))))
        assert (first == second, await source.current()) == (False, second)
        assert repr(source).startswith("AsyncTokenSource('az://models', ('read',)")
        assert isinstance(pickle.loads(pickle.dumps(source)), valetkey.AsyncTokenSource)  # noqa: S301
    assert fake.calls == ["WatchToken", "WatchToken"]
    assert retries.WINDOW < 10  # what keeps these tests short
