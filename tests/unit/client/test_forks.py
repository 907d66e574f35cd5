"""Clients and token sources in programs that fork, as data loaders do: their workers inherit them."""

import functools
import gc
import os
import sys
import threading
import time
import weakref
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from support.fake_broker import API_KEY, FakeBroker
from support.stopwatch import ends_within
from support.warm import run_installed
from support.watch_messages import step
from valetkey import TokenSource, channel_replacement
from valetkey.clock_through_suspend import now
from valetkey.renewal import forks, pacing, shared_feeds
from valetkey.renewal.attempts import Attempt
from valetkey.testing import fake_broker

CALLS, WORKERS, SECONDS, CLOSINGS = 10, 3, 60, 150
# Longer than a test may take where a fork waits in vain.
LONG = 150.0
PROGRAM = f"""
import os, sys
from valetkey import Client

endpoint, ca_file, api_key, before = sys.argv[1:]
client = Client(endpoint, ca_file=ca_file, api_key=api_key)
if before == "a call":
    client.list_connectors()
if before == "a stream":
    stream = client.watch_token("az://demo-models", ["read"])
    next(iter(stream))
workers = []
for _ in range({WORKERS}):
    with client._caller.connection._channels._lock:  # As another thread of the parent has it that calls just now.
        worker = os.fork()
    if not worker:
        try:
            for _ in range({CALLS}):
                client.list_connectors()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    workers.append(worker)
ends = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
client.list_connectors()
os._exit(max(ends))
"""


CLOSED_BEFORE = f"""
import os, sys
from valetkey import Client

def call():
    with Client(sys.argv[1], ca_file=sys.argv[2], api_key=sys.argv[3]) as client:
        client.list_connectors()

for _ in range({CLOSINGS}):
    call()
    worker = os.fork()
    if not worker:
        try:
            call()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    if code := os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]):
        os._exit(code % 256)
os._exit(0)
"""


@pytest.mark.unmeasured  # coverage (7.17.3) may keep a worker from ending
@pytest.mark.parametrize("before", ["nothing", "a call", "a stream"])
def test_forked_workers_call_as_their_parent_does(before: str, broker: FakeBroker) -> None:
    """Protects data loaders from workers that hang on their parent's connection, and the parent from its workers."""
    broker.streams = [[step(1, life=600), float(SECONDS)]]
    argv = [sys.executable, "-c", PROGRAM, broker.endpoint, str(broker.ca_file), API_KEY, before]
    done = run_installed(argv, environment=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [type(request).__name__ for request in broker.requests].count("ListConnectorsRequest")
    assert calls == CALLS * WORKERS + 1 + (before == "a call")


def test_a_child_has_a_channel_of_its_own() -> None:
    """Protects workers from what another thread of the parent had locked in gRPC, and the parent from their close()."""
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    channels = channel_replacement.ReplaceableChannel([], make)
    parents = channels.channel
    for _ in range(2):  # A child of a child, which has made no call.
        channels.forked()
    assert channels.channel is None
    held, over = channels.take()
    assert (held.channel is made[1], over, len(made)) == (True, None, 2)
    assert channels.give_back(held) is None
    assert channels.channel is held.channel
    assert parents in [each.channel for each in channel_replacement._of_parents]


@pytest.mark.unmeasured  # coverage (7.17.3) may keep a worker from ending
def test_workers_are_forked_as_soon_as_a_client_is_closed(broker: FakeBroker) -> None:
    """Protects programs that ask for something before they fork: neither they nor their workers may hang."""
    argv = [sys.executable, "-c", CLOSED_BEFORE, broker.endpoint, str(broker.ca_file), API_KEY]
    done = run_installed(argv, environment=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stream_makes_way_for_forks_and_another_one_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects children, for whom gRPC is not readied amid a call, and the broker from a lease for each fork."""
    with fake_broker.FakeBroker(ttl=timedelta(minutes=15)) as fake, fake.token_source("az://models") as source:
        first = source.current()
        for _ in range(3):
            fork(source)
        assert (source.current(), fake.calls) == (first, ["WatchToken"])
        monkeypatch.setattr(pacing, "_AFTER_FORK", 0.0)
        second = source.renew(first)
        fork(source)
        end = time.monotonic() + 60
        while source.current() == second and time.monotonic() < end:
            time.sleep(0.01)
        assert fake.calls == ["WatchToken"] * 3


def test_a_source_that_was_dropped_is_waited_for() -> None:
    """Protects children of whoever lets a source go without closing it, which ends its stream in the background."""
    with fake_broker.FakeBroker() as fake:
        for number in range(3):
            source = fake.token_source(f"az://models-{number}")
            source.current()
            feed = source._feed
            del source
            assert feed is not None
            shared_feeds._before_fork()
            assert not feed.join(0.0)
            shared_feeds._after_fork_in_parent()


def test_nothing_is_kept_of_a_source_that_was_closed() -> None:
    """Protects the token and the key of the last source of a process, which no other one takes the place of."""
    with fake_broker.FakeBroker() as fake:
        source = fake.token_source("az://models")
        source.current()
        source.close()
        feed = weakref.ref(source._feed)
        del source
        gc.collect()
        assert feed() is None


INTERRUPTED = """
import os, signal, sys
from valetkey.renewal import forks
from valetkey.testing import FakeBroker

presses = [signal.SIGINT]

def settle():  # For which the fork waits.
    if presses:
        signal.raise_signal(presses.pop())

forks.settle = settle
with FakeBroker() as fake, fake.token_source("az://models") as source:
    first = source.current()
    try:
        if not os.fork():
            os._exit(0)
    except KeyboardInterrupt:
        print("interrupted")
    os.wait()
    if worker := os.fork():  # Once is enough.
        print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
    else:
        os._exit(7)
    print(source.renew(first) != first)
"""


@pytest.mark.unmeasured  # coverage (7.17.3) may keep a worker from ending
def test_an_interrupt_amid_a_fork_comes_after_it() -> None:
    """Protects whoever presses Ctrl-C while a program forks: Python drops what is raised as a fork is made ready."""
    done = run_installed([sys.executable, "-c", INTERRUPTED], environment=os.environ)
    assert (done.stdout.split(), done.returncode) == (["interrupted", "7", "True"], 0), done.stderr
    assert "KeyboardInterrupt" not in done.stderr


def test_forks_come_faster_than_tokens() -> None:
    """Protects who waits for a token in a server that forks for each request, and the broker from leases for nobody."""
    with fake_broker.FakeBroker() as fake, fake.token_source("az://models") as source:
        first = source.current()
        fake.delay = 0.2
        asking = threading.Thread(target=source.renew, args=[first])
        asking.start()
        end = time.monotonic() + 20
        while asking.is_alive() and time.monotonic() < end:
            shared_feeds._before_fork()
            shared_feeds._after_fork_in_parent()
            time.sleep(0.02)
        assert source.current() != first
        assert len(fake.calls) <= 4
        asking.join()


def test_a_call_without_an_answer_holds_up_forks_once() -> None:
    """Protects programs that fork a row of workers while the broker does not answer: not each of them waits."""
    waited: list[float] = []
    for age in (0.0, forks._SECONDS):
        feed, fork = forks.ForksOfFeed(), forks.Fork(seconds=LONG)
        call = SimpleNamespace(runs=True, asked=now() - age, join=waited.append)
        feed.begins(fork)
        feed.ends(fork)
        feed.let_pass(cast("list[Attempt]", [call]))
        fork.wait()
    assert waited[0] > 0
    assert waited[1] == 0


def test_a_feed_that_does_not_answer_holds_up_no_fork() -> None:
    """Protects programs from waiting for a call that the broker does not answer, or for a feed that has just ended."""
    silent, ended = forks.ForksOfFeed(), forks.ForksOfFeed()
    short, left = forks.Fork(seconds=0.01), forks.Fork(seconds=LONG)
    short.ask(silent)
    short.wait()
    left.ask(ended)
    ended.hold_up_none()
    with ends_within(60):
        left.wait()


def test_forks_do_not_wait_for_each_other() -> None:
    """Protects threads that fork at a time: each of two feeds hears of another one first."""
    with fake_broker.FakeBroker() as fake, fake.token_source("az://a") as one, fake.token_source("az://b") as other:
        first, second = forks.Fork(seconds=LONG), forks.Fork(seconds=LONG)
        before = one.current(), other.current()
        for each, source in ((first, one), (second, other), (first, other), (second, one)):
            assert source._feed is not None
            source._feed.make_way(each)
        with ends_within(60):
            first.wait()
            second.wait()
        first.over()
        second.over()
        assert (one.renew(before[0]), other.renew(before[1])) != before


def test_a_fork_amid_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects programs that fork in a signal handler, which may come while a fork waits: both come, and both end."""
    monkeypatch.setattr(shared_feeds, "Fork", functools.partial(forks.Fork, seconds=LONG))
    monkeypatch.setattr(forks, "_LONGEST", LONG)
    with fake_broker.FakeBroker() as fake, fake.token_source("az://models") as source:
        first = source.current()
        with ends_within(60):
            fork(source)
            shared_feeds._before_fork()
            fork(source)
            shared_feeds._after_fork_in_parent()
        assert source.renew(first) != first


def fork(source: TokenSource) -> None:
    """Does what comes before and after a fork, without one."""
    shared_feeds._before_fork()
    feed = source._feed
    assert feed is not None
    assert (feed._attempt, feed._ended and feed._ended.runs) == (None, False)
    shared_feeds._after_fork_in_parent()
