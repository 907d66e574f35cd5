"""Has Azure revoke the keys that revocations want revoked, and watches until storage acts on it.

What is to be done stands in the revocation's document, so whichever replica is there goes on with it.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import BrokerError, connector_not_found
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.model import CloudProfile, Connector, Container, Event, EventKind, SigningKey, cut, details_of
from valetkey_broker.model.revocation import KeyRevocation, Revocation, SignerKind
from valetkey_broker.observability.redaction import frames
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.revoking.delegation_key_revoker import KeyOrders, Place
from valetkey_broker.revoking.impact import Impact
from valetkey_broker.revoking.key_ledger_records import KeyRecords
from valetkey_broker.revoking.key_rotations import KeyRotations
from valetkey_broker.revoking.keys_of_revocation import is_open, is_unproved, with_keys
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

_LOOK_SECONDS = 0.25
# The replica that an operator called goes first; the others leave it so long before they take it for gone.
_GRACE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0
# Whoever takes longer than that over one account must not keep the keys of others alive.
_STEP_SECONDS = 60.0
# A probe's key, where no key of before is at hand: it begins this long before the revocation.
_BACKDATED_SECONDS = 300
# So much must be left of a key of before, whose end storage's clock decides.
_LEAST_LEFT_SECONDS = 120
# Storage has many front ends, and they need not agree.
_REFUSALS = 2


@dataclass(slots=True)
class _Pace:
    """When one account of one revocation is looked at next (monotonic), and how often in a row it was refused."""

    pauses: Backoff
    due: float
    refusals: int = 0


class KeyRevocations:
    """The work of one replica."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        memory: Memory,
        questions: CloudClient,
        keys: SigningKeys,
        impact: Impact,
        rotations: KeyRotations,
        ledger: Ledger,
        profiles: Mapping[str, CloudProfile],
        clock: Clock,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._questions = questions
        self._keys = keys
        self._rotations = rotations
        self._ledger = ledger
        self._records = KeyRecords(clock)
        self._orders = KeyOrders(repository, memory, questions, impact, ledger, clock)
        self._profiles = profiles
        self._clock = clock
        self._grace = grace_seconds
        self._paces: dict[Place, _Pace] = {}
        self._mine: set[str] = set()
        self._recorded: set[tuple[Place, EventKind]] = set()
        self._looking = asyncio.Lock()
        self._log = structlog.get_logger()

    def begin(self, name: str) -> None:
        """Has this replica go first with a revocation: it was called for it."""
        self._mine.add(name)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 (a loop that ends would leave keys alive for ever)
                self._log.error("revoking keys failed; it is tried again", error=type(error).__qualname__)

    async def look(self, *, at_once: bool = False) -> None:
        """Does whatever is due; with `at_once` all that is open."""
        async with self._looking:
            await self._look(at_once=at_once)

    async def _look(self, *, at_once: bool) -> None:
        now = self._clock()
        open_: dict[Place, tuple[Revocation, KeyRevocation]] = {
            (each.name, *keys.place): (each, keys)
            for each in self._memory.revocations.values()
            for keys in each.keys
            if not keys.is_over(now) and (keys.revoked_at or keys.rotation or each.in_force)
        }
        for place in self._paces.keys() - open_.keys():
            del self._paces[place]
            self._orders.forget(place)
        self._recorded = {each for each in self._recorded if each[0] in open_}
        self._mine.intersection_update({revocation.name for revocation, _ in open_.values()})
        for place, (revocation, keys) in open_.items():
            pace = self._paces.get(place)
            if pace is None:
                wait = 0.0 if revocation.name in self._mine else self._grace
                pace = self._paces[place] = _Pace(
                    Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), time.monotonic() + wait
                )
            if at_once or time.monotonic() >= pace.due:
                try:
                    async with asyncio.timeout(_STEP_SECONDS):
                        await self._go_on(revocation, keys, pace)
                except Exception as error:  # noqa: BLE001 (one account's keys must not keep those of others alive)
                    self._log.error(
                        "revoking an account's keys failed; it is tried again",
                        revocation=revocation.name,
                        account=keys.account,
                        frames=frames(error),
                    )
                pace.due = time.monotonic() + pace.pauses.next()

    async def _go_on(self, revocation: Revocation, keys: KeyRevocation, pace: _Pace) -> None:
        if keys.revoked_at:
            await self._prove(revocation, keys, pace)
            return
        await (self._revoke if keys.kind is not SignerKind.ACCOUNT_KEY else self._rotate)(revocation, keys)
        # What is under way is followed closely; what fails the same way again is asked about ever less.
        if not keys.error or self._memory.revocations.get(revocation.name) is not revocation:
            pace.pauses = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)

    async def _revoke(self, revocation: Revocation, keys: KeyRevocation) -> None:
        """Gives Azure the order, unless somebody did."""
        try:
            await self._orders.give(revocation, keys)
        except BrokerError as error:
            await self._not_yet(revocation, keys, error)

    async def _rotate(self, revocation: Revocation, keys: KeyRevocation) -> None:
        """Has an account's key rotated, and notes how far that is; once it is over, how many tokens that hit."""

        async def noted(there: Revocation) -> Revocation:
            if not dead:
                return with_keys(there, now, joined)
            covered, others, more = await self._rotations.signed(there, keys)
            await self._record_once(there, keys, self._records.hit(there, now, covered, others, more=more))
            revoked_at = math.ceil(self._clock())
            hit = replace(now, covered=len(covered), others=len(others), at_least=more)
            return with_keys(there, replace(hit, revoked_at=revoked_at))

        try:
            now, dead = await self._rotations.step(revocation, keys)
            # Where it is held up, it may be by what has the key since the revocation was made.
            joined = await self._rotations.joined(revocation, now) if now.error and not dead else ()
            if dead or joined or now != keys:
                await self._repository.revocations.change(revocation.name, lambda there: is_open(there, keys), noted)
        except BrokerError as error:
            await self._not_yet(revocation, keys, error)

    async def _prove(self, revocation: Revocation, keys: KeyRevocation, pace: _Pace) -> None:
        """Tries a token of before; notes when storage refuses it."""
        try:
            connector = self._connector(keys.probe_connector)
            profile = self._profiles[keys.cloud]
            container = Container(keys.account, keys.container, profile.container_url(keys.account, keys.container))
            accepted = await self._questions.accepts(connector, container, await self._key_of_before(connector, keys))
        except (BrokerError, KeyError) as error:
            pace.refusals = 0
            reason = error.reason.name if isinstance(error, BrokerError) else "CLOUD_UNDEFINED"
            self._log.info(
                "whether storage still accepts revoked keys cannot be told now", account=keys.account, reason=reason
            )
            return
        pace.refusals = 0 if accepted else pace.refusals + 1
        if pace.refusals < _REFUSALS:
            return

        async def proved(there: Revocation) -> Revocation:
            now = int(self._clock())
            told = details_of(account=keys.account, seconds=str(max(0, now - keys.revoked_at)))
            event = self._records.event(EventKind.REVOCATION_PROVED, there, keys, told)
            await self._record_once(there, keys, event)
            return with_keys(there, replace(keys, proved_at=now))

        try:
            await self._repository.revocations.change(revocation.name, lambda there: is_unproved(there, keys), proved)
        except BrokerError as error:
            self._log.info("a proof is not written down yet", account=keys.account, reason=error.reason.name)

    async def _record_once(self, revocation: Revocation, keys: KeyRevocation, event: Event) -> None:
        """Records what Vault may not take then, and is done again until it does."""
        done = (revocation.name, *keys.place), event.kind
        if done not in self._recorded:
            await self._ledger.record(event)
            self._recorded.add(done)

    async def _key_of_before(self, connector: Connector, keys: KeyRevocation) -> SigningKey:
        """Returns a key that signed tokens before the revocation; where none is at hand, one that begins before it."""
        if keys.kind is SignerKind.ACCOUNT_KEY:
            return await self._rotations.key_of_before(connector, keys)
        earlier = max((each for each in self._orders.times_of(keys) if each < keys.revoked_at), default=0)
        held = self._keys.revoked(connector, keys.account, earlier, keys.revoked_at)
        # One that ends by itself is refused for that, which says nothing of others of before that live longer.
        if held is not None and held.expires > self._clock() + _LEAST_LEFT_SECONDS:
            return held
        starts = keys.revoked_at - _BACKDATED_SECONDS
        return await self._questions.signing_key(
            connector, keys.account, starts=starts, expires=self._clock() + _BACKDATED_SECONDS
        )

    async def _note(self, revocation: Revocation, keys: KeyRevocation, error: BrokerError) -> None:
        """Writes down why it failed, for operators who look; the same words only once."""
        text = cut(error.message)
        if keys.error == text:
            return

        async def noted(there: Revocation) -> Revocation:
            return with_keys(there, replace(keys, error=text))

        try:
            await self._repository.revocations.change(revocation.name, lambda there: is_open(there, keys), noted)
        except BrokerError as failed:
            self._log.info("the failure is not written down", account=keys.account, reason=failed.reason.name)

    def _connector(self, name: str) -> Connector:
        connector = self._memory.connectors.get(name)
        if connector is None:
            raise connector_not_found(name)
        return connector

    async def _not_yet(self, revocation: Revocation, keys: KeyRevocation, error: BrokerError) -> None:
        if keys.error != cut(error.message):  # One line for each cause, not for each try.
            self._log.warning(
                "an account's keys are not revoked yet; trying again",
                revocation=revocation.name,
                account=keys.account,
                reason=error.reason.name,
                error=error.message,
            )
        await self._note(revocation, keys, error)
