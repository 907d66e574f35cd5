"""`TokenSource`: a current token for one scope, whenever it is asked for."""

import os
import pickle
import weakref
from collections.abc import Callable, Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from valetkey.absolute_paths import from_the_root
from valetkey.callers.base import Terms
from valetkey.calls.tokens import token_request
from valetkey.clock_through_suspend import now
from valetkey.errors import ValetKeyError
from valetkey.identity import IDENTITY_FILES
from valetkey.renewal import shared_feeds
from valetkey.renewal.held_token import HeldToken
from valetkey.renewal.token_feed import TokenFeed
from valetkey.settings import load_settings
from valetkey.token_values import Token

_DEFAULT_TIMEOUT = 30.0
_FILES = ("ca_file", "config_file", *IDENTITY_FILES)


class TokenSource:
    """Holds a current token for one resource, path and permissions, renewed ahead of each expiry.

    Sources of the same scope and caller share one stream to the broker, in whichever threads they are used. A
    restart of the broker, a rotation and a cut of the network go unnoticed; the old token is served while it lives. The
    clock of this machine does not matter. In a forked child a source starts anew, with the token it has; pickled, it
    travels as its parameters, without any token. Nothing runs before the first use, nor after close() or once the
    source is collected.
    """

    def __init__(
        self,
        resource: str,
        permissions: Iterable[str],
        *,
        ttl: timedelta | None = None,
        connector: str | None = None,
        source_ip: str | None = None,
        purpose: str | None = None,
        endpoint: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        api_key: str | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        client_cert_file: str | os.PathLike[str] | None = None,
        client_key_file: str | os.PathLike[str] | None = None,
        login_file: str | os.PathLike[str] | None = None,
        config_file: str | os.PathLike[str] | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
    ) -> None:
        """Makes a source, and calls nobody yet.

        The scope is given as to `Client.issue_token`, broker and identity as to `load_settings`: what is left out, the
        environment, the config file and the log-in say. `timeout` is how long a user waits for a token at most, in
        seconds. Raises SettingsError or InvalidArgumentError where one of them cannot be used.
        """
        words = permissions if isinstance(permissions, str) else tuple(permissions)
        self._request = token_request(resource, words, ttl, connector, source_ip, purpose)
        self._parameters: dict[str, Any] = {
            "ttl": ttl,
            "connector": connector,
            "source_ip": source_ip,
            "purpose": purpose,
            "endpoint": endpoint,
            "ca_file": ca_file,
            "api_key": api_key,
            "api_key_file": api_key_file,
            "token_file": token_file,
            "client_cert_file": client_cert_file,
            "client_key_file": client_key_file,
            "login_file": login_file,
            "config_file": config_file,
            "timeout": timeout,
        }
        for name in _FILES:  # The process that it travels to may be in another folder.
            if self._parameters[name]:
                self._parameters[name] = os.fspath(from_the_root(self._parameters[name]))
        self._scope = (resource, tuple(words))
        settings = load_settings(
            endpoint=endpoint,
            ca_file=ca_file,
            api_key=api_key,
            api_key_file=api_key_file,
            token_file=token_file,
            client_cert_file=client_cert_file,
            client_key_file=client_key_file,
            login_file=login_file,
            config_file=config_file,
        )
        self._terms = Terms(settings.endpoint, settings.identity, settings.ca_file, timeout)
        self._feed: TokenFeed | None = None
        self._closed = False
        self._leave: weakref.finalize[Any, Any] | None = None
        self._spare: HeldToken | None = None  # of the feed that it left

    def current(self) -> Token:
        """Returns a token that is good for some seconds at least; never blocks while there is one.

        Raises a ValetKeyError of the fitting kind where there is none and none comes: within some 10 s where the
        broker cannot be reached, at once where it refuses.
        """
        return self._from_feed(lambda feed: feed.current())

    def renew(self, after: Token) -> Token:
        """Returns a newer token than `after`, which storage refused though it lives. Raises as `current` does."""
        return self._from_feed(lambda feed: feed.newer(after.lease_id))

    def may_renew(self, after: Token) -> bool:
        """Tells whether a newer token than `after` may help where storage refused that; asks for nothing.

        It will not where `after` was itself made because of a refusal, within the last 30 s: then it is a firewall, or
        a permission, that refuses, and each further token would be a lease for nothing.
        """
        return self._live().may_renew(after.lease_id)

    def look(self) -> None:
        """Has the next token be that of who is in the identity's file by now, as a new source's would be.

        Of a log-in that changed, it may ask the issuer, as any use of it.
        """
        feed, identity = self._feed, self._terms.identity
        whose = identity.caller_fingerprint()
        if feed is None or feed.is_of(whose) or not identity.is_usable():
            return
        with shared_feeds.guard():
            if self._leave is not None and self._feed is feed:
                # Who waits for that feed is to find that it was left, and not that this source is closed.
                leave, self._feed, self._leave = self._leave, None, None
                self._spare = feed.asked_as.left_over(feed.held)
                leave()

    def close(self) -> None:
        """Ends its part of the renewal, and the renewal itself where nobody else uses it; waits until that is over."""
        self._closed = True
        feed = self._feed
        if self._leave is not None:
            self._leave()
        if feed is not None and feed.stopped and feed.pid == os.getpid():
            feed.join()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def peek(self) -> Token | None:
        """Returns the current token if there is a good one, and asks for nothing."""
        held = self._held()
        return held.token if held is not None else None

    def at_hand(self) -> Token | None:
        """Returns the current token if there is a good one, and sees to its renewal, in a forked child as well."""
        if (held := self._held()) is None:
            return None
        self._live()
        return held.token

    def lasts(self) -> float:
        """Returns for how many seconds the current token is good yet, if no newer one comes; 0 without one."""
        held = self._held()
        return max(held.useful_until - now(), 0.0) if held is not None else 0.0

    def _held(self) -> HeldToken | None:
        held = self._feed.held if self._feed is not None and not self._closed else None
        return held if held is not None and held.good() else None

    def _from_feed(self, ask: Callable[[TokenFeed], HeldToken]) -> Token:
        while True:
            feed = self._live()
            try:
                return ask(feed).token
            except ValetKeyError:
                # Another thread may have left that feed by `look` while this one waited; it then asks the next one.
                if self._closed or self._feed is feed or not feed.stopped:
                    raise

    def _live(self) -> TokenFeed:
        feed = self._feed
        if self._closed:
            raise ValetKeyError("this token source is closed; expected use before close(), or make a new TokenSource")
        if feed is not None and not feed.stopped and feed.pid == os.getpid():
            return feed
        seed = self._held()
        whose = self._terms.identity.caller_fingerprint() if seed is None else seed.whose
        with shared_feeds.guard():
            feed, old = self._feed, self._leave
            if feed is not None and not feed.stopped and feed.pid == os.getpid():
                return feed  # another thread came first
            user = object()
            feed = shared_feeds.join(self._terms, self._request, user, whose, seed, self._spare)
            self._spare = None
            self._feed, self._leave = feed, weakref.finalize(self, shared_feeds.leave, feed, user)
        if old is not None:
            old.detach()  # of the parent's feed
        return feed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Names scope, broker and identity: libraries take two of the same repr for the same."""
        resource, permissions = self._scope
        given = "".join(
            f", {name}={self._parameters[name]!r}"
            for name in ("ttl", "connector", "source_ip", "purpose")
            if self._parameters[name] is not None
        )
        return (
            f"{type(self).__name__}({resource!r}, {permissions!r}{given}, endpoint={self._terms.endpoint!r}, "
            f"identity={str(self._terms.identity)!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._parameters["api_key"] is not None:
            raise pickle.PicklingError(
                "a token source made with api_key cannot be pickled, or the key would travel; expected api_key_file or "
                "token_file, or VALETKEY_API_KEY where it is unpickled"
            )
        return _rebuilt, (type(self), self._scope, self._parameters)


def _rebuilt(kind: type[TokenSource], scope: tuple[str, tuple[str, ...]], parameters: dict[str, Any]) -> TokenSource:
    return kind(*scope, **parameters)
