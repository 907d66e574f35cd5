"""Which feeds there are in this process: everybody who wants the same as the same caller shares one."""

import atexit
import os
import threading
from contextlib import AbstractContextManager
from typing import Any

from valetkey.callers.base import Terms
from valetkey.renewal import forks
from valetkey.renewal.forks import Fork
from valetkey.renewal.held_token import HeldToken
from valetkey.renewal.token_feed import TokenFeed
from valetkey.v1 import token_service_pb2 as token_pb

_Key = tuple[Terms, bytes]

_feeds: dict[_Key, TokenFeed] = {}
# Those that were stopped, whose threads may run a while yet: nobody waits for them where a source was not closed, but
# collected as garbage.
_ending: set[TokenFeed] = set()
# Reentrant: a source that is collected as garbage is taken from its feed by whatever thread happens to run.
_lock = threading.RLock()


class _Forks(threading.local):
    """Those of one thread: another one may come amid a fork, from a signal handler, and is over before that goes on."""

    def __init__(self) -> None:
        self.under_way: list[Fork] = []


_forks = _Forks()


def guard() -> AbstractContextManager[Any]:
    """Returns the lock that is held while users come and go."""
    return _lock


def join(terms: Terms, request: token_pb.IssueTokenRequest, user: object, seed: HeldToken | None = None) -> TokenFeed:
    """Returns the feed of a scope, with one user more; makes it where there is none."""
    key = (terms, request.SerializeToString(deterministic=True))
    while True:
        with _lock:
            feed = _feeds.get(key)
            if feed is None or feed.stopped:
                feed = _feeds[key] = TokenFeed(terms, request, seed)
                if seed is not None:
                    feed.begin()
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
            for each in [each for each in list(_ending) if not each.join(0.0)]:
                _ending.discard(each)
            _ending.add(feed)
            feed.stop()
            for key in [key for key, each in _feeds.items() if each is feed]:
                del _feeds[key]


def _before_fork() -> None:
    fork = Fork()
    _forks.under_way.append(fork)
    for feed in list(_feeds.values()):
        feed.make_way(fork)
    fork.wait()
    waited = [feed.join(fork.seconds_left()) for feed in list(_ending)]
    if any(waited):
        forks.settle()


def _after_fork_in_parent() -> None:
    if _forks.under_way:
        _forks.under_way.pop().over()


def _after_fork_in_child() -> None:
    """Starts anew in a child: it has neither its parent's threads nor whoever held the lock."""
    global _lock  # noqa: PLW0603 (the old one may be held for ever)
    _lock = threading.RLock()
    _feeds.clear()
    _ending.clear()
    _forks.under_way.clear()


def _at_exit() -> None:
    feeds = list(_feeds.values())
    for feed in feeds:
        feed.stop()
    for feed in feeds:
        feed.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
