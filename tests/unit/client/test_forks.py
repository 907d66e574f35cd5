"""`Client` in programs that fork, as data loaders do: their workers inherit it."""

import os
import sys

import pytest

from support.fake_broker import API_KEY, FakeBroker
from support.warm import run_installed
from support.watch_messages import step
from valetkey import held_channels

CALLS, WORKERS, SECONDS = 10, 3, 60
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

    channels = held_channels.HeldChannels([], make)
    parents = channels.channel
    for _ in range(2):  # A child of a child, which has made no call.
        channels.forked()
    assert channels.channel is None
    held, over = channels.take()
    assert (held.channel is made[1], over, len(made)) == (True, None, 2)
    assert channels.give_back(held) is None
    assert channels.channel is held.channel
    assert parents in [each.channel for each in held_channels._of_parents]
