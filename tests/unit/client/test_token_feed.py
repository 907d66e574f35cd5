"""What keeps a source's feed going: threads that the system refuses, answers that nobody can read, its own defects."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import valetkey
from valetkey import clock_through_suspend
from valetkey.renewal import pacing, shared_feeds, token_feed
from valetkey.testing import FakeBroker
from valetkey.v1 import token_service_pb2 as token_pb


class GarblingBroker(FakeBroker):
    """Its first answers hold times that there are not."""

    garbled = 1

    def _token(self, request: token_pb.IssueTokenRequest) -> token_pb.IssueTokenResponse:
        answer = super()._token(request)
        if self.garbled:
            self.garbled -= 1
            answer.expire_time.seconds = 10**15
        return answer


@pytest.fixture(scope="module")
def fake() -> Iterator[GarblingBroker]:
    with GarblingBroker(ttl=timedelta(minutes=15)) as running:
        yield running


def current_in_time(source: valetkey.TokenSource, problem: str) -> valetkey.Token:
    """Returns the token, of however many tries; each that fails has to say the problem."""
    end = time.monotonic() + 60
    while True:
        try:
            return source.current()
        except valetkey.ValetKeyError as error:
            if problem not in error.message or time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("thread", ["valetkey-feed", "valetkey-token"])
def test_a_thread_that_cannot_be_started(thread: str, fake: GarblingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects jobs from a pod that has no thread left for a moment: it passes, and so does the want of a token."""
    fake.garbled = 0
    real, refused = threading.Thread.start, [thread]

    def start(self: threading.Thread) -> None:
        if self.name in refused:
            refused.remove(self.name)
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with fake.token_source("az://models", purpose=thread) as source:
        assert current_in_time(source, "no further thread can be started here").sas
    assert not refused


@pytest.mark.parametrize("by_calls", [False, True])
def test_an_answer_that_cannot_be_read(by_calls: bool, fake: GarblingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects jobs from one bad answer, as while a broker is replaced: it is told, without a defect's traceback."""
    monkeypatch.setattr(pacing.Pacing, "by_calls", by_calls)
    fake.garbled = 1
    with fake.token_source("az://models", purpose=f"garbled {by_calls}") as source:
        with pytest.raises(valetkey.ValetKeyError, match=r"is no token that can be read \(ValueError\)"):
            source.current()
        assert current_in_time(source, "can be read").sas


def test_a_defect_ends_no_feed(fake: GarblingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects jobs from whatever nobody thought of: a feed whose thread has gone would never bring a token again."""
    fake.garbled = 0
    real, secrets = token_feed.TokenFeed._on_heard, ["sig=secret"]

    def on_heard(self: token_feed.TokenFeed, *arguments: Any) -> None:
        if secrets:
            raise KeyError(secrets.pop())
        real(self, *arguments)

    monkeypatch.setattr(token_feed.TokenFeed, "_on_heard", on_heard)
    with fake.token_source("az://models", purpose="defect") as source:
        with pytest.raises(valetkey.ValetKeyError, match=r"by a defect of valetkey \(KeyError\)"):
            source.current()
        assert current_in_time(source, "by a defect").sas


def test_a_source_is_closed_while_another_waits(fake: GarblingBroker) -> None:
    """Protects programs from a standstill: who closes one may hold no lock that whoever waits for a token needs."""
    fake.garbled = 0
    source = fake.token_source("az://models", purpose="closed")
    source.current()
    feed = source._feed
    assert feed is not None
    with feed._changed:  # As a thread has it that waits, in which garbage is collected now: that takes the guard.
        closing = threading.Thread(target=source.close)
        closing.start()
        while not feed.stopped:
            time.sleep(0.01)
        guard: Any = shared_feeds.guard()
        assert guard.acquire(timeout=30)
        guard.release()
    closing.join()


async def test_who_gives_up_waiting_leaves_no_traceback_behind(
    fake: GarblingBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Protects logs of programs with time-outs: asyncio tells of each error that nobody looked at."""
    source = valetkey.AsyncTokenSource.of(fake.token_source("az://models", purpose="given up"))
    given_up = threading.Event()

    def ask() -> valetkey.Token:
        given_up.wait(60)
        raise valetkey.UnavailableError("away")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(source._once("", ask), 0.01)
    (waiting,) = source._waiting.values()
    given_up.set()
    await asyncio.wait([waiting])
    del waiting
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_token_of_centuries(fake: GarblingBroker) -> None:
    """Protects the feed from waiting for longer than Python can."""
    fake.garbled = 0
    with fake.token_source("az://models", ttl=timedelta(days=2_000_000)) as source:
        first = source.current()
        assert source.renew(first) != first


def test_a_folder_of_now_is_left(fake: GarblingBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects programs that change their folder: the file is the one that was meant, and no other caller's.

    Two of the same name in two folders are two callers, and share no token.
    """
    fake.garbled = 0
    for name, key in (("one", fake.api_key), ("two", "vk_" + "X" * 43)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "api-key").write_text(key)
    monkeypatch.chdir(tmp_path / "one")
    with (
        fake.token_source("az://models", api_key_file="api-key") as source,
        valetkey.Client(fake.endpoint, ca_file=fake.ca_file, api_key_file="api-key") as client,
    ):
        first = source.current()
        monkeypatch.chdir(tmp_path / "two")
        assert client.who_am_i().principal == "key:fake"
        assert source.renew(first) != first
        with fake.token_source("az://models", api_key_file="api-key") as other:
            assert other.peek() is None
            with pytest.raises(valetkey.UnauthenticatedError):
                other.current()
        assert str(tmp_path / "one" / "api-key") in repr(source)


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    """Protects laptops that wake up with a token that ended meanwhile: their usual clock stood still."""
    assert clock_through_suspend.clock_of("linux") == time.CLOCK_BOOTTIME
    assert clock_through_suspend.clock_of("darwin") == time.CLOCK_MONOTONIC_RAW
