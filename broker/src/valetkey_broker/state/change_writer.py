"""Makes changes: the intent first, then the steps, then the news; and finishes or undoes what others left."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from valetkey_broker.errors import BrokerError
from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_broker.state.change_kinds import settle
from valetkey_broker.state.intent import ORIGIN, Intent
from valetkey_broker.state.intents_of_call import OpenIntents, intents_at_hand
from valetkey_broker.state.intents_under_way import Intents

OnSettled = Callable[[Intent, bool], Awaitable[None]]
"""Hears of a change that another writer left and this process settled, and whether it was made."""

Check = Callable[[], Awaitable[None]]
"""Raises a BrokerError where a change must not be made after all, asked once its intent is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A change of one kind, which writes the version after `expected`; see change_kinds.py for kinds and `details`.

    `first` does what only this process can do; the rest any replica can. `also` are the paths, beside the change's own,
    that nobody else is to change meanwhile; whether they are as `expected` was planned on, `first` has to see.
    """

    kind: str
    expected: int
    first: Callable[[Intent], Awaitable[object]] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()


class Writes:
    """Every change of more than one write goes through here; `take_over` brings memory up to date with paths."""

    def __init__(
        self,
        store: StateStore,
        intents: Intents,
        take_over: Callable[[Iterable[str]], Awaitable[None]],
        on_settled: OnSettled | None,
    ) -> None:
        self._store = store
        self._intents = intents
        self._take_over = take_over
        self._on_settled = on_settled
        self._told: set[str] = set()
        self._log = structlog.get_logger()

    async def make(self, path: str, prepare: Callable[[], Awaitable[Plan | None]]) -> bool:
        """Makes the change of `path` that `prepare` plans, after looking at what is there; it may be called again.

        Where it plans none, nothing is to be done. Returns False where somebody changed the path after `prepare` looked
        at it. Raises what `prepare` raises; and VAULT_UNAVAILABLE where the change was not made, or, with Vault away,
        where nobody knows yet: then it is settled as soon as Vault is back.
        """
        async with intents_at_hand() as changes:
            try:
                return await self._make(path, prepare, changes)
            finally:
                await changes.let_go_of_late()

    async def _make(self, path: str, prepare: Callable[[], Awaitable[Plan | None]], changes: OpenIntents) -> bool:
        while True:
            try:
                plan = await prepare()
            except Exception as error:
                changes.failed_preparing(error)
                raise
            if plan is None:
                return True
            intent = Intent(
                id=str(uuid.uuid4()),
                kind=plan.kind,
                path=path,
                expected=plan.expected,
                origin=ORIGIN.get(),
                details=plan.details,
                also=plan.also,
            )
            await changes.close(intent.paths)
            if await changes.hold(self._intents.opened(intent)):
                return await self._work(intent, plan.first, changes)
            await self._intents.wait_for(intent.paths, self.settle)

    async def over(self, path: str) -> None:
        """Returns once no change of `path` is under way, having settled what was abandoned. Raises CONFLICT."""
        await self._intents.wait_for((path,), self.settle)

    async def settle_abandoned(self) -> None:
        """Finishes or undoes what was left by writers that are gone, or could not be done with Vault away.

        Never raises: what fails is tried again next time.
        """
        for intent in self._intents.abandoned():
            try:
                await self.settle(intent)
            except Exception as error:  # noqa: BLE001 (one that was made by hand must not keep the others unsettled)
                if intent.id not in self._told:
                    self._told.add(intent.id)
                    self._log.warning(
                        "an unfinished change cannot be settled yet; trying again at each poll",
                        path=intent.path,
                        kind=intent.kind,
                        reason=error.reason.name if isinstance(error, BrokerError) else type(error).__qualname__,
                    )

    async def settle(self, intent: Intent) -> bool:
        """Settles one abandoned change. Returns False where its holder, or another process, is on it again."""
        async with self._intents.claimed(intent) as claimed:
            if not claimed:
                return False
            made = await settle(self._store, intent)
            await self._take_over(intent.paths)
            if self._on_settled is not None:
                await self._on_settled(intent, made)
            await self._intents.close(intent)
        self._told.discard(intent.id)
        self._log.warning(
            "settled a change that its writer left",
            path=intent.path,
            kind=intent.kind,
            outcome="made" if made else "not made",
            request_id=intent.origin.request_id,
            principal=intent.origin.principal,
        )
        return True

    async def _work(
        self, intent: Intent, first: Callable[[Intent], Awaitable[object]] | None, changes: OpenIntents
    ) -> bool:
        try:
            made = await self._steps(intent, first)
        except Exception as error:
            try:
                made = await settle(self._store, intent)
            except Exception:  # noqa: BLE001 (Vault is away; the first error says more)
                with contextlib.suppress(BrokerError):
                    await self._take_over(intent.paths)
                raise error from None
            if not made:
                await self._settled(intent, changes)
                raise
        await self._settled(intent, changes)
        return made

    async def _steps(self, intent: Intent, first: Callable[[Intent], Awaitable[object]] | None) -> bool:
        try:
            if first is not None:
                await self._check_in_time(intent)
                await first(intent)
            return "document" not in intent.details or await settle(self._store, intent, ready=True)
        except CasMismatchError:
            return await settle(self._store, intent)

    async def _check_in_time(self, intent: Intent) -> None:
        """Looks whether the path is as the change was planned on, where that stores a credential first.

        Another change may have been made before this one's intent was open. Vault keeps some versions only: none is to
        be written, in place of an older one, for a document that cannot come any more. Raises CasMismatchError.
        """
        if intent.details.get("credential") and await self._store.newest(intent.path) != intent.expected:
            raise CasMismatchError(f"{intent.path}: the newest version is not {intent.expected}")

    async def _settled(self, intent: Intent, changes: OpenIntents) -> None:
        """Takes the change over. Its intent is closed when the call is on record."""
        try:
            await self._take_over(intent.paths)
        except BrokerError as error:
            self._warn(intent, error)
        else:
            changes.settled(intent.paths, lambda: self._close(intent))

    async def _close(self, intent: Intent) -> None:
        """Announces the change. It stands, whatever happens to the news of it: while its intent is open, every replica
        looks at its paths at each poll.
        """
        try:
            await self._intents.close(intent)
        except BrokerError as error:
            self._warn(intent, error)

    def _warn(self, intent: Intent, error: BrokerError) -> None:
        self._log.warning(
            "a change is not announced yet; replicas look for it until it is",
            path=intent.path,
            reason=error.reason.name,
        )
