"""The containers that one connector is known to reach, by account and by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from valetkey_broker.connectors.outcome import AccountError
from valetkey_broker.connectors.shared_work import RecentError
from valetkey_broker.model import Container

_NEVER = float("-inf")


@dataclass(slots=True)
class KnownAccount:
    """What is known of one account. `listed_at` is when it was last listed whole, in Unix seconds."""

    containers: dict[str, Container] = field(default_factory=dict)
    listed_at: float = _NEVER
    error: RecentError = field(default_factory=RecentError)


@dataclass(slots=True)
class KnownContainers:
    """All accounts of a connector. `searched_at` is when accounts were last looked for, in Unix seconds."""

    accounts: dict[str, KnownAccount] = field(default_factory=dict)
    by_name: dict[str, tuple[Container, ...]] = field(default_factory=dict)
    searched_at: float = _NEVER
    search_error: RecentError = field(default_factory=RecentError)
    search_errors: Sequence[AccountError] = ()
    refresh_at: float = float("inf")

    def account(self, name: str) -> KnownAccount:
        """Returns what is known of an account, from now on at least that there may be one."""
        return self.accounts.setdefault(name, KnownAccount())

    def listed(self, account: str, containers: Iterable[Container], now: float) -> None:
        """Takes over a listing of a whole account."""
        known = self.account(account)
        before = known.containers
        known.containers = {container.name: container for container in containers}
        known.listed_at = now
        known.error.forget()
        for name in before.keys() ^ known.containers.keys():
            self._place(name)

    def checked(self, container: Container) -> None:
        """Takes over one container that was looked at by itself."""
        self.account(container.account).containers[container.name] = container
        self._place(container.name)

    def missing(self, account: str, name: str) -> None:
        """Forgets a container that turned out not to be there."""
        known = self.accounts.get(account)
        if known is not None and known.containers.pop(name, None) is not None:
            self._place(name)

    def keep_only(self, accounts: Iterable[str]) -> None:
        """Forgets accounts that are gone."""
        for gone in self.accounts.keys() - set(accounts):
            for name in self.accounts.pop(gone).containers:
                self._place(name)

    def all(self) -> list[Container]:
        """Returns the containers by account and name."""
        return [
            known.containers[name] for _, known in sorted(self.accounts.items()) for name in sorted(known.containers)
        ]

    def _place(self, name: str) -> None:
        found = tuple(known.containers[name] for _, known in sorted(self.accounts.items()) if name in known.containers)
        if found:
            self.by_name[name] = found
        else:
            self.by_name.pop(name, None)
