"""Has Azure revoke the user delegation keys of an account: each order goes together with its records to its end."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import connector_not_found
from valetkey_broker.model import EventKind, details_of
from valetkey_broker.model.revocation import KeyRevocation, Revocation, SignerKind
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.recording import Changes
from valetkey_broker.revoking.impact import Impact, token_facts
from valetkey_broker.revoking.key_ledger_records import KeyRecords
from valetkey_broker.revoking.keys_of_revocation import is_open, with_keys
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

Place = tuple[str, str, str, str]
"""The name of a revocation, and the place of the keys."""
# Azure's clock is known to the second.
_MARGIN_SECONDS = 1


class KeyOrders:
    """The orders of one process."""

    def __init__(
        self,
        repository: StateRepository,
        memory: Memory,
        questions: CloudClient,
        impact: Impact,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._questions = questions
        self._impact = impact
        self._ledger = ledger
        self._changes = Changes(ledger, clock)
        self._records = KeyRecords(clock)
        self._clock = clock
        self._on_their_way: dict[Place, asyncio.Task[Revocation]] = {}
        self._taken: dict[Place, int] = {}
        self._recorded: set[Place] = set()

    async def give(self, revocation: Revocation, keys: KeyRevocation) -> None:
        """Gives Azure the order, unless somebody did. On record before and after, as every change.

        Whoever waits for it no longer does not cut Azure's answer from the record of it: the order would be given once
        more, and end what was signed since. Nobody waits a second time for one that is on its way.

        Raises CONNECTOR_NOT_FOUND, what the cloud raises, LEDGER_UNAVAILABLE, VAULT_UNAVAILABLE or CONFLICT.
        """
        place = (revocation.name, *keys.place)
        if place in self._on_their_way:
            return
        details = details_of(step="revoke-keys", account=keys.account)
        begun = self._records.event(EventKind.CHANGE_BEGUN, revocation, keys, details)
        change = self._changes.make(begun, partial(self._ordered, place, keys))
        order = asyncio.create_task(self._repository.background.whole(change), name="revoking-keys")
        self._on_their_way[place] = order
        order.add_done_callback(partial(self._ended, place))
        await asyncio.shield(order)

    def forget(self, place: Place) -> None:
        """Forgets what is over."""
        self._taken.pop(place, None)
        self._recorded.discard(place)

    def times_of(self, keys: KeyRevocation) -> Sequence[int]:
        """Returns when keys of that account were revoked, for whatever revocation; 0 for each that is to be."""
        return [
            same.revoked_at
            for each in self._memory.revocations.values()
            for same in each.keys
            if same.place == keys.place
        ]

    def _ended(self, place: Place, order: "asyncio.Task[Revocation]") -> None:
        del self._on_their_way[place]
        if not order.cancelled():
            order.exception()  # Whoever still waits hears of it; else it is tried again.

    async def _ordered(self, place: Place, keys: KeyRevocation) -> Revocation:
        return await self._repository.revocations.change(
            place[0],
            lambda there: there.in_force and is_open(there, keys),
            partial(self._order, place, keys),
        )

    async def _order(self, place: Place, keys: KeyRevocation, there: Revocation) -> Revocation:
        connector = self._memory.connectors.get(keys.through)
        if connector is None:
            raise connector_not_found(keys.through)
        others, more = await self._impact.others(keys.account, SignerKind.USER_DELEGATION_KEY, there.target)
        alive, too_many = await self._impact.alive(there.target)
        covered = [event for event in alive if token_facts(event).account == keys.account]
        # What Azure took already, and could not be written down then, is not ordered again.
        revoked_at = self._taken.get(place) or self._revoked_since(there, keys)
        if not revoked_at:
            await self._questions.revoke_delegation_keys(connector, keys.account)
            # By the cloud's clock, which is the one that counts.
            ahead = self._questions.clock_skew(connector) or 0.0
            revoked_at = self._taken[place] = math.ceil(self._clock() - ahead) + _MARGIN_SECONDS
        if place not in self._recorded:
            await self._ledger.record(self._records.hit(there, keys, covered, others, more=more or too_many))
            self._recorded.add(place)
        hit = replace(keys, covered=len(covered), others=len(others), at_least=more or too_many)
        return with_keys(there, replace(hit, revoked_at=revoked_at, error=""))

    def _revoked_since(self, there: Revocation, keys: KeyRevocation) -> int:
        """Returns when these keys were revoked for another revocation that came later than this one; 0: they were not.

        Two operators at once need not end twice what was issued in between.
        """
        first = there.created_at.timestamp() + _MARGIN_SECONDS
        return max((each for each in self.times_of(keys) if each > first), default=0)
