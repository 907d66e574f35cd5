"""The containers that one connector is known to reach, by account and by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.connectors.reach_result import AccountError
from valetkey_broker.connectors.recent_errors import RecentError
from valetkey_broker.model import Container

_NEVER = float("-inf")


@dataclass(slots=True)
class KnownAccount:
    """What is known of one account. `listed_at` is when it was last listed whole, in Unix seconds.

    `hierarchical` tells whether it has a hierarchical namespace, as was said at `hierarchical_at`; None before that.
    """

    containers: dict[str, Container] = field(default_factory=dict)
    listed_at: float = _NEVER
    error: RecentError = field(default_factory=RecentError)
    hierarchical: bool | None = None
    hierarchical_at: float = _NEVER
    hierarchical_error: RecentError = field(default_factory=RecentError)

    def says(self, hierarchical: bool, now: float) -> None:
        """Takes over whether it has a hierarchical namespace."""
        self.hierarchical, self.hierarchical_at = hierarchical, now


@dataclass(slots=True)
class KnownContainers:
    """All accounts of a connector. `searched_at` is when accounts were last looked for, in Unix seconds.

    `asked_at` is when a listing of many connectors last came to this one, by the event loop's clock.
    `swept` tells that all of them were asked once: before that, more of them may have a name than are known to.
    """

    accounts: dict[str, KnownAccount] = field(default_factory=dict)
    by_name: dict[str, tuple[Container, ...]] = field(default_factory=dict)
    searched_at: float = _NEVER
    swept: bool = False
    search_error: RecentError = field(default_factory=RecentError)
    search_errors: Sequence[AccountError] = ()
    refresh_at: float = float("inf")
    asked_at: float = _NEVER

    def account(self, name: str) -> KnownAccount:
        """Returns what is known of an account, from now on at least that there may be one."""
        return self.accounts.setdefault(name, KnownAccount())

    async def listed(
        self, account: str, containers: Iterable[Container], now: float, before: Iterable[str] | None = None
    ) -> None:
        """Takes over a listing of a whole account, in slices; whoever looks meanwhile sees the old or the new.

        Gone is what was known `before` the cloud was asked, and is not in it; without that, what is known now.
        """
        known = self.account(account)
        gone = set(known.containers if before is None else before)
        async for some in slices(containers, in_background=True):
            if self.accounts.get(account) is not known:
                return  # The account went away meanwhile.
            for container in some:
                gone.discard(container.name)
                if known.containers.get(container.name) != container:
                    self._place(container)
        async for names in slices(gone, in_background=True):
            for name in names:
                self.missing(account, name)
        known.listed_at = now
        known.error.forget()

    def checked(self, container: Container) -> None:
        """Takes over one container that was looked at by itself."""
        self.account(container.account)
        self._place(container)

    def missing(self, account: str, name: str) -> None:
        """Forgets a container that turned out not to be there."""
        known = self.accounts.get(account)
        if known is not None and known.containers.pop(name, None) is not None:
            self._drop(account, name)

    async def keep_only(self, accounts: Iterable[str]) -> None:
        """Forgets accounts that are gone, in slices."""
        for gone in self.accounts.keys() - set(accounts):
            async for names in slices(self.accounts.pop(gone).containers, in_background=True):
                for name in names:
                    self._drop(gone, name)

    def forget_errors(self) -> None:
        """Lets the next one ask, whatever went wrong: the credential that it went wrong with is replaced."""
        self.search_error.forget()
        for known in self.accounts.values():
            known.error.forget()
            known.hierarchical_error.forget()

    async def all(self) -> list[Container]:
        """Returns the containers by account and name."""
        found = []
        for _, known in sorted(self.accounts.items()):
            async for names in slices(sorted(known.containers)):
                # What went away meanwhile is not there any more.
                found += [known.containers[name] for name in names if name in known.containers]
        return found

    def _place(self, container: Container) -> None:
        self.accounts[container.account].containers[container.name] = container
        others = [each for each in self.by_name.get(container.name, ()) if each.account != container.account]
        self.by_name[container.name] = tuple(sorted([*others, container], key=_account))

    def _drop(self, account: str, name: str) -> None:
        left = tuple(each for each in self.by_name.get(name, ()) if each.account != account)
        if left:
            self.by_name[name] = left
        else:
            self.by_name.pop(name, None)


def _account(container: Container) -> str:
    return container.account
