"""Which feeds there are in this process: everybody who wants the same as the same caller shares one."""

import _thread
import atexit
import functools
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from valetkey.callers.base import Terms
from valetkey.identity import CallerFingerprint
from valetkey.renewal import forks
from valetkey.renewal.asked_as import of_same_name
from valetkey.renewal.forks import Fork
from valetkey.renewal.held_token import HeldToken
from valetkey.renewal.token_feed import TokenFeed
from valetkey.v1 import token_service_pb2 as token_pb

_Key = tuple[Terms, bytes]

# Of one key there are several where the identity's file was replaced by another caller's.
_feeds: dict[_Key, tuple[TokenFeed, ...]] = {}
# Threads of those that were stopped, which may run a while yet: nobody waits for them where a source was not closed,
# but collected as garbage. Nothing else of a feed is kept, which has tokens and keys.
_ending: set[threading.Thread] = set()
# Reentrant: a source that is collected as garbage is taken from its feed by whatever thread happens to run.
_lock = threading.RLock()


class _Forks(threading.local):
    """Those of one thread: another one may come amid a fork, from a signal handler, and is over before that goes on."""

    def __init__(self) -> None:
        self.under_way: list[Fork] = []


_forks = _Forks()
# Ctrl-C amid the hooks of a fork: Python drops what these raise.
_interrupts: list[int] = []


def guard() -> AbstractContextManager[Any]:
    """Returns the lock that is held while users come and go."""
    return _lock


def join(
    terms: Terms,
    request: token_pb.IssueTokenRequest,
    user: object,
    whose: CallerFingerprint | None,
    seed: HeldToken | None = None,
    spare: HeldToken | None = None,
) -> TokenFeed:
    """Returns the feed of a scope and a caller, with one user more; makes it where there is none.

    `whose` is the fingerprint of who was in the identity's file just before, or of whose token the user has: `seed`.
    Feeds of another caller are told to look into the file, so that whoever comes next finds one. `spare` is what the
    user had before; that or a token of those feeds serves on where nobody can be asked, see `AskedAs.serves_on`.
    """
    key = (terms, request.SerializeToString(deterministic=True))
    while True:
        with _lock:
            feeds = _running(_feeds.get(key, ()))
            feed = next((each for each in feeds if each.is_of(whose)), None)
            if feed is None:
                had = (spare, *(each.asked_as.left_over(each.held) for each in feeds))
                spare = next((each for each in had if each and each.good() and of_same_name(each, whose)), None)
                feed = TokenFeed(terms, request, seed, spare)
                _feeds[key] = (*feeds, feed)
                if seed is not None:
                    feed.begin()
                for each in feeds:
                    each.look()
            feed.users.add(user)
            # A collection of garbage in between may have taken its last user away.
            if not feed.stopped:
                return feed


def leave(feed: TokenFeed, user: object) -> None:
    """Takes a user from a feed, and ends it with its last one."""
    if feed.pid != os.getpid():
        return  # the parent's, whose threads did not come along
    with _lock:
        feed.users.discard(user)
        if not feed.users:
            _ending.difference_update([each for each in list(_ending) if not each.is_alive()])
            if feed.thread is not None:
                _ending.add(feed.thread)
            feed.stop()
            for key, feeds in [(key, feeds) for key, feeds in list(_feeds.items()) if feed in feeds]:
                if others := _running(feeds):
                    _feeds[key] = others
                else:
                    del _feeds[key]


def _all() -> list[TokenFeed]:
    return [feed for feeds in list(_feeds.values()) for feed in feeds]


def _running(feeds: tuple[TokenFeed, ...]) -> tuple[TokenFeed, ...]:
    return tuple(each for each in feeds if not each.stopped)


def _to_its_end(step: Callable[[], None]) -> None:
    while True:
        try:
            step()
        except KeyboardInterrupt:
            _interrupts.append(signal.SIGINT)
        else:
            return


def _before_fork() -> None:
    fork = Fork()
    _forks.under_way.append(fork)
    _to_its_end(lambda: _wait(fork))


def _wait(fork: Fork) -> None:
    for feed in _all():
        feed.make_way(fork)
    fork.wait()
    if running := [each for each in list(_ending) if each.is_alive() and each is not threading.current_thread()]:
        for each in running:
            each.join(fork.seconds_left())
        forks.settle()


def _after_fork_in_parent() -> None:
    if _forks.under_way:
        _to_its_end(_forks.under_way.pop().over)


def _after_fork_in_child() -> None:
    """Starts anew in a child: it has neither its parent's threads nor whoever held the lock."""
    global _lock  # noqa: PLW0603 (the old one may be held for ever)
    _lock = threading.RLock()
    _feeds.clear()
    _ending.clear()
    _forks.under_way.clear()
    _interrupts.clear()


def _at_exit() -> None:
    feeds = _all()
    for feed in feeds:
        feed.stop()
    for feed in feeds:
        feed.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
    # No line of Python: amid one, KeyboardInterrupt would come at once, and be dropped. So it comes after the fork.
    os.register_at_fork(after_in_parent=functools.partial(_interrupts.sort, key=_thread.interrupt_main))
    os.register_at_fork(after_in_parent=_interrupts.clear)
atexit.register(_at_exit)
