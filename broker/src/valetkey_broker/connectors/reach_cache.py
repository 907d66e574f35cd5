"""Remembers what each connector reaches: one cache for listing, issuing and verifying."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from valetkey_broker.concurrency.single_flight import SingleFlight
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.known_containers import KnownContainers
from valetkey_broker.connectors.reach_result import PASSING, AccountError, Reach, own_container
from valetkey_broker.connectors.recent_errors import Remembering, join
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Container, SigningKey
from valetkey_broker.ports import Clock

T = TypeVar("T")

# A name that is not there is looked up again this often at most, and old knowledge is kept so long after an error.
_ASK_AGAIN_SECONDS = 5.0
# So long does somebody who listed a moment ago see the same again.
_RECENT_SECONDS = 2.0
_STRAGGLER_SECONDS = 2.0
_ACCOUNTS_AT_ONCE = 8
# So long nobody asks again what the cloud could not answer just now.
_PASSING_SECONDS = 1.0
# The part of its time after which a listing is not worth keeping when others are renewed.
_STILL_FRESH = 0.9
_NEVER = float("-inf")

_Way = tuple[str, str]


class ReachCache:
    """Containers by connector and account: read on demand, one question at a time, renewed behind the callers' backs.

    Each is of a single resource type (`Connector.by_type`). What an account answers does not hide what another does.
    Errors are remembered for a moment, too. What is of the future, for the clock was set back, counts as old.
    """

    def __init__(
        self,
        questions: CloudClient,
        clock: Clock,
        fresh_seconds: float,
        *,
        straggler_seconds: float = _STRAGGLER_SECONDS,
    ) -> None:
        """`fresh_seconds` is how long a listing is believed before it is read again.

        Whoever found a container waits at most `straggler_seconds` for accounts that have not answered yet.
        """
        self._questions = questions
        self._clock = clock
        self._fresh = fresh_seconds
        self._stragglers = straggler_seconds
        self._known: dict[str, dict[_Way, KnownContainers]] = {}  # by Connector.uid
        self._flights: SingleFlight[tuple[str, ...], Any] = SingleFlight("reach")

    def known(self, connector: Connector, name: str, account: str = "") -> Sequence[Container]:
        """Returns the containers of that name in memory; the hot path: no waiting, no I/O.

        Without an account that is none until all were asked: what others named in full must not decide for a short id.
        """
        if (known := self._known.get(connector.uid, {}).get(_way(connector))) is None:
            return ()
        if self._clock() >= known.refresh_at:
            known.refresh_at = self._clock() + _ASK_AGAIN_SECONDS
            self._flights.start((connector.uid, *_way(connector), "refresh"), partial(self._refresh, connector))
        account = account or connector.azure.storage_account
        found = known.by_name.get(name, ())
        if not account:
            return found if known.swept else ()
        return [each for each in found if each.account == account]

    async def find(self, connector: Connector, name: str, account: str = "") -> Reach:
        """Returns the containers of that name, asking the cloud where memory has none.

        With `account`, or where the connector has one of its own, only that is asked, and nothing is listed. Raises
        BrokerError where nothing at all could be asked.
        """
        account = account or connector.azure.storage_account
        if found := self.known(connector, name, account):
            return Reach(found)
        if account:
            return await self._checked(connector, account, name)
        errors = await self._sweep(connector, _ASK_AGAIN_SECONDS, enough=name)
        return Reach(self.known(connector, name), errors)

    async def reach(self, connector: Connector, *, anew: bool = False, max_age: float = _RECENT_SECONDS) -> Reach:
        """Returns all that the connector serves, as it is or was at most `max_age` seconds ago.

        `anew` asks the cloud whatever is in memory, but for what it wants not to be asked yet. Raises BrokerError where
        nothing at all could be told.
        """
        max_age = 0.0 if anew else max_age
        own = connector.resource
        if own is not None and own.account is not None:
            checked = await self._checked(connector, own.account, own.container, max_age=max_age)
            return Reach([own_container(connector, checked)])
        errors = await self._sweep(connector, max_age)
        reach = Reach(await self.knowledge(connector).all(), errors)
        return reach.require_any() if own is None else Reach([own_container(connector, reach)])

    def hierarchical(self, connector: Connector, account: str) -> bool | None:
        """Tells whether the account has a hierarchical namespace; None where it has to be asked. No waiting, no I/O.

        An account that has none may be given one, once and for good: that it has none is believed for a while only.
        """
        known = self._known.get(connector.uid, {}).get(_way(connector))
        found = known.accounts.get(account) if known is not None else None
        if found is None or (not found.hierarchical and abs(self._clock() - found.hierarchical_at) >= self._fresh):
            return None
        return found.hierarchical

    async def ask_hierarchical(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        """Asks the account of `container` whether it has a hierarchical namespace, and remembers the answer.

        `key` signs for that account. Raises BrokerError where storage does not say.
        """
        key_of_flight = (connector.uid, *_way(connector), "hierarchical", container.account)
        work = partial(self._ask_hierarchical, connector, container, key)
        return cast("bool", await join(self._flights, key_of_flight, work, connector))

    def forget(self, connector_uid: str) -> None:
        """Drops what is known of a connector that went away."""
        self._known.pop(connector_uid, None)
        for key in self._flights.active():
            if key[0] == connector_uid:
                self._flights.cancel(key)

    def forget_earlier(self, connector: Connector) -> None:
        """Drops what a connector reached as another principal, and what went wrong with an earlier credential."""
        ways = self._known.get(connector.uid, {})
        for way in list(ways):
            known = ways[way] if way[0] == connector.principal_way else ways.pop(way)
            known.forget_errors()

    async def close(self) -> None:
        """Ends what is under way."""
        await self._flights.close()
        self._known.clear()

    async def _checked(self, connector: Connector, account: str, name: str, max_age: float = 0.0) -> Reach:
        """Looks at one container by itself, unless its account was listed at most `max_age` seconds ago."""
        known = self.knowledge(connector)
        listed = known.accounts.get(account)
        if listed is not None and abs(self._clock() - listed.listed_at) < max_age:
            return Reach([listed.containers[name]] if name in listed.containers else ())
        if not await self._admits(connector, account):
            return Reach(())
        try:
            return Reach([await self._shared(connector, ("check", account, name), self._check)])
        except BrokerError as error:
            if error.reason is not Reason.RESOURCE_NOT_FOUND:
                raise
            return Reach((), ())

    async def _admits(self, connector: Connector, account: str) -> bool:
        """Tells whether the connector may serve `account`: it was narrowed to some, or to all that it reaches."""
        azure = connector.azure
        if azure.storage_account:
            return account == azure.storage_account
        if connector.resource is not None and connector.resource.account == account:
            return True
        if not (azure.subscription_id or azure.resource_group):
            return True
        await self._accounts(connector, self._fresh)
        return account in self.knowledge(connector).accounts

    async def _sweep(self, connector: Connector, max_age: float, enough: str = "") -> Sequence[AccountError]:
        """Lists all accounts that were not listed in the last `max_age` seconds. Returns their errors.

        With `enough`, does not wait long for the rest once a container of that name was found.
        """
        accounts = await self._accounts(connector, max_age)
        known = self.knowledge(connector)
        slots = asyncio.Semaphore(_ACCOUNTS_AT_ONCE)
        ended: asyncio.Queue[asyncio.Task[AccountError | None]] = asyncio.Queue()
        tasks = [asyncio.create_task(self._listed(connector, account, max_age, slots)) for account in accounts]
        for task in tasks:
            task.add_done_callback(ended.put_nowait)
        errors = list(known.search_errors)
        try:
            async with asyncio.timeout(None) as patience:
                for _ in tasks:
                    if enough and enough in known.by_name and patience.when() is None:
                        patience.reschedule(asyncio.get_running_loop().time() + self._stragglers)
                    if (error := (await ended.get()).result()) is not None:
                        errors.append(error)
        except TimeoutError:
            if not patience.expired():
                raise
        finally:
            for task in tasks:
                task.cancel()  # Those who wait; what is asked of the cloud goes on and is remembered.
        known.swept = True
        return sorted(errors, key=lambda each: each.account)

    async def _accounts(self, connector: Connector, max_age: float) -> Sequence[str]:
        known = self.knowledge(connector)
        if abs(self._clock() - known.searched_at) >= max_age:
            try:
                await self._shared(connector, ("search",), self._search)
            except BrokerError as error:
                if known.searched_at == _NEVER:
                    raise
                known.search_errors = [AccountError("", error)]  # Those found before are still worth a look.
        return sorted(known.accounts)

    async def _listed(
        self, connector: Connector, account: str, max_age: float, slots: asyncio.Semaphore
    ) -> AccountError | None:
        if abs(self._clock() - self.knowledge(connector).account(account).listed_at) < max_age:
            return None
        async with slots:
            try:
                await self._shared(connector, ("list", account), self._list)
            except BrokerError as error:
                return AccountError(account, error)
        return None

    async def _search(self, connector: Connector) -> None:
        known = self.knowledge(connector)
        with Remembering(known.search_error, self._clock, _PASSING_SECONDS):
            search = await self._questions.accounts(connector)
        known.searched_at = self._clock()
        known.search_errors = [AccountError("", error) for error in search.errors]
        for error in (each for each in search.errors if each.reason is Reason.CLOUD_THROTTLED):
            known.search_error.heard(error, known.searched_at)  # Whoever searches again waits as long as it says.
        if not search.errors:
            await known.keep_only(search.accounts)
        for account in search.accounts:
            found = known.account(account)
            if account in search.hierarchical:
                found.says(search.hierarchical[account], known.searched_at)
        known.refresh_at = self._clock() + self._fresh

    async def _list(self, connector: Connector, account: str) -> None:
        known = self.knowledge(connector)
        of = known.account(account)
        before = tuple(of.containers)
        with Remembering(of.error, self._clock, _PASSING_SECONDS):
            found = await self._questions.containers(connector, account)
        await known.listed(account, found, self._clock(), before)

    async def _ask_hierarchical(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        known = self.knowledge(connector).account(container.account)
        with Remembering(known.hierarchical_error, self._clock, _PASSING_SECONDS):
            said = await self._questions.hierarchical(connector, container, key)
        known.says(said, self._clock())
        return said

    async def _check(self, connector: Connector, account: str, name: str) -> Container:
        known = self.knowledge(connector)
        try:
            container = await self._questions.container(connector, account, name)
        except BrokerError as error:
            if error.reason is Reason.RESOURCE_NOT_FOUND:
                known.missing(account, name)
            raise
        known.checked(container)
        known.refresh_at = min(known.refresh_at, self._clock() + self._fresh)
        return container

    async def _refresh(self, connector: Connector) -> None:
        """Reads anew what was read before: whole accounts, or single containers where only those were asked for."""
        known = self.knowledge(connector)
        errors: Sequence[AccountError] = ()
        if known.searched_at > _NEVER:
            # What is not old yet stays: after an error only the rest is asked for again.
            errors = await self._sweep(connector, self._fresh * _STILL_FRESH)
        else:
            for account, one in list(known.accounts.items()):
                for name in list(one.containers):
                    await self._checked(connector, account, name)
        passing = any(each.error.reason in PASSING for each in errors)
        soon = max(self._clock() + _ASK_AGAIN_SECONDS, known.search_error.until)
        known.refresh_at = soon if passing else self._clock() + self._fresh

    def knowledge(self, connector: Connector) -> KnownContainers:
        """Returns what is known of a connector, be it nothing yet."""
        ways = self._known.setdefault(connector.uid, {})
        if (known := ways.get(way := _way(connector))) is None:
            # Another way in may reach something else.
            for other in [each for each in ways if each[0] != way[0]]:
                del ways[other]
            known = ways[way] = KnownContainers()
        return known

    async def _shared(
        self, connector: Connector, what: tuple[str, ...], work: Callable[..., Coroutine[Any, Any, T]]
    ) -> T:
        """Returns what `work` returns for the words in `what` after the first; others who want the same wait along."""
        key = (connector.uid, *_way(connector), *what)
        return cast("T", await join(self._flights, key, partial(work, connector, *what[1:]), connector))


def _way(connector: Connector) -> _Way:
    return connector.principal_way, connector.resource_type or ""
