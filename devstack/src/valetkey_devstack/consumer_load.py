"""Consumers that go on while a credential is rotated: each asks for a token and uses it on a blob, over and over."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from valetkey.client import Client
from valetkey.errors import ValetKeyError
from valetkey_broker.model import Secret
from valetkey_devstack.demo_data import DEMO_RESOURCE, SecretFiles
from valetkey_devstack.demo_storage_client import DemoFailedError, Storage
from valetkey_devstack.directory_layout import write_private
from valetkey_devstack.stack import DevStack

_CONSUMERS = 3
_PAUSE_SECONDS = 0.05
Read = Callable[[str, str], object]
"""Reads something from a container by its URL and a SAS. Raises where storage refuses it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What consumers saw: so many rounds of a token and a blob, the failures, and the longest time (s) between two."""

    rounds: int
    failures: tuple[str, ...]
    longest_gap: float


@dataclass(slots=True)
class RotationLoad:
    """Runs consumers while the context lasts; `seen` tells how they fared. `client` is theirs, `read` uses a token.

    A call that the client repeats by itself counts as failed: nobody downstream is to notice anything.
    """

    client: Callable[[Callable[[ValetKeyError], None]], Client]
    read: Read
    resource: str
    permissions: tuple[str, ...] = ("read", "list")
    connector: str | None = None
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _failures: list[str] = field(default_factory=list)
    _gaps: list[float] = field(default_factory=list)
    _rounds: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._consume, daemon=True) for _ in range(_CONSUMERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def seen(self) -> Seen:
        """What they saw until now."""
        with self._lock:
            return Seen(self._rounds, tuple(self._failures), max(self._gaps, default=0.0))

    def rounds(self, more: int) -> None:
        """Waits until so many more rounds are done, or half a minute at most."""
        until, end = self.seen.rounds + more, time.monotonic() + 30
        while self.seen.rounds < until and time.monotonic() < end:
            time.sleep(_PAUSE_SECONDS)

    def _consume(self) -> None:
        with self.client(self._failed) as client:
            last: float | None = None
            while not self._stop.is_set():
                try:
                    token = client.issue_token(
                        self.resource, self.permissions, ttl=timedelta(minutes=5), connector=self.connector
                    )
                    self.read(token.url, token.sas_token)
                except Exception as error:  # noqa: BLE001 (whatever a consumer meets is what is counted)
                    self._failed(error)
                else:
                    now = time.monotonic()
                    with self._lock:
                        self._rounds += 1
                        self._gaps.append(now - last if last is not None else 0.0)
                    last = now
                time.sleep(_PAUSE_SECONDS)

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._failures.append(f"{type(error).__name__}: {str(error)[:200]}")


def client_of(
    stack: DevStack,
    key_file: Path,
    on_interruption: Callable[[ValetKeyError], None] | None = None,
    *,
    port: int = 0,
) -> Client:
    """Returns a client of the stack's broker, or of another one on `port`."""
    return Client(
        f"127.0.0.1:{port or stack.ports.broker}",
        api_key_file=key_file,
        ca_file=stack.ca_file,
        on_interruption=on_interruption,
    )


def load_on(stack: DevStack, files: SecretFiles, blob: str, holds: str) -> RotationLoad:
    """Returns consumers of the demo's container, which read a blob that holds a text."""

    def read(url: str, sas_token: str) -> None:
        if Storage(stack, url, sas_token).read(blob) != holds:
            raise DemoFailedError("what was read back is not what was written")

    return RotationLoad(lambda tell: client_of(stack, files.consumer_key, tell), read, DEMO_RESOURCE)


def writing_load_on(
    stack: DevStack, files: SecretFiles, blob: str, *, connector: str | None = None, port: int = 0
) -> RotationLoad:
    """Returns consumers of the demo's container, each of which writes a blob of its own and reads it back."""

    def use(url: str, sas_token: str) -> None:
        storage, name, holds = Storage(stack, url, sas_token), f"{blob}-{threading.get_ident()}", secrets.token_hex(8)
        storage.write(name, holds)
        if storage.read(name) != holds:
            raise DemoFailedError("what was read back is not what was written")

    return RotationLoad(
        lambda tell: client_of(stack, files.consumer_key, tell, port=port),
        use,
        DEMO_RESOURCE,
        ("read", "write"),
        connector,
    )


def new_secret(stack: DevStack, file: Path, *, works_after: float) -> Path:
    """Gives the service principal another secret, which Entra knows late; writes it to `file`."""
    secret = secrets.token_urlsafe(30)
    stack.control_plane.add_secret(Secret(secret), works_after=works_after)
    write_private(file, secret)
    return file
