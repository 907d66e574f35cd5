"""Ends of client secrets, as Microsoft Graph tells them to whoever may read the application."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Connector, Credential, NamedSecret
from valetkey_broker.model.ending import Ending, EndingKind
from valetkey_broker.model.rotation import rotation_path
from valetkey_broker.ports import Clock
from valetkey_broker.ports.credential_maker import ApplicationPassword, CredentialMaker

_KNOWN_BY = "Microsoft Graph"
# An end that was told does not change; who may not be told now may be later.
_KEPT_SECONDS, _AGAIN_SECONDS = 6 * 3600.0, 900.0
_AT_ONCE, _TIMEOUT_SECONDS = 8, 5.0

_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Told:
    ends_at: datetime | None
    until: float


class GraphEndings:
    """A source (see endings.py). Asks by the rights of the credential itself, or of those that rotate it by a schedule.

    What was told is kept for hours, for Graph is asked once for each; whoever asks waits for some seconds at most, and
    the rest is there for the next one.
    """

    def __init__(
        self,
        maker: CredentialMaker,
        objects: CredentialHolders,
        clock: Clock,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._maker = maker
        self._objects = objects
        self._clock = clock
        self._timeout = timeout_seconds
        self._told: dict[_Place, _Told] = {}
        self._asking: dict[_Place, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self) -> Iterable[Ending]:
        """Returns the ends that Graph tells."""
        memory = self._objects.memory
        own = [each for each in memory.connectors.values() if not each.secret_uid]
        every: list[Connector | NamedSecret] = [*own, *memory.secrets.values()]
        there = {(each.uid, each.credential_version): each for each in every if _is_a_secret(each)}
        for gone in self._told.keys() - there.keys():
            del self._told[gone]
        now = self._clock()
        for place, each in there.items():
            told = self._told.get(place)
            if place not in self._asking and (told is None or told.until <= now):
                self._asking[place] = asyncio.get_running_loop().create_task(self._ask(place, each), name="graph-end")
        if wanted := [self._asking[place] for place in there if place in self._asking]:
            await asyncio.wait(wanted, timeout=self._timeout)
        return [
            _ending(each, told.ends_at)
            for place, each in there.items()
            if (told := self._told.get(place)) is not None and told.ends_at is not None
        ]

    async def _ask(self, place: _Place, there: Connector | NamedSecret) -> None:
        before, ends_at, kept = self._told.get(place), None, _AGAIN_SECONDS
        try:
            async with self._slots, asyncio.timeout(4 * self._timeout):
                ends_at, kept = await self._end_of(there), _KEPT_SECONDS
        except (BrokerError, TimeoutError, LookupError, TypeError, ValueError):
            # Not every service principal may read its application: then only what operators note down is known.
            ends_at = before.ends_at if before is not None else None
        finally:
            del self._asking[place]
            self._told[place] = _Told(ends_at, self._clock() + kept)

    async def _end_of(self, there: Connector | NamedSecret) -> datetime | None:
        _, credential = await self._objects.itself(there)
        by = there.rotation_schedule.by if there.rotation_schedule is not None else ""
        asker, own = await self._objects.asked_by(there, by)
        listed = await self._maker.passwords(asker, own, there.azure.client_id)
        mine = self._mine(there, credential, listed)
        return min((each.ends_at for each in mine if each.ends_at is not None), default=None)

    def _mine(
        self, there: Connector | NamedSecret, credential: Credential, listed: Sequence[ApplicationPassword]
    ) -> Sequence[ApplicationPassword]:
        """Returns the secret in use: by its id where the broker made it, else by how it begins, as several may."""
        secret = self._objects.auth_methods[there.auth_method].encode(credential.value).get("client_secret", "")
        fitting = [each for each in listed if each.hint and secret.startswith(each.hint)]
        last = self._objects.memory.rotations.get(rotation_path(there.object_path))
        if last is not None and last.object_uid == there.uid and last.to_version == there.credential_version:
            made = [each for each in listed if each.key_id and each.key_id == last.notes.get("key_id")]
            return made or fitting
        return fitting


def _is_a_secret(there: Connector | NamedSecret) -> bool:
    fields = there.secret_fields if isinstance(there, NamedSecret) else ("client_secret",)
    return bool(there.azure.client_id) and "client_secret" in fields


def _ending(there: Connector | NamedSecret, ends_at: datetime | None) -> Ending:
    # Whoever reads the application may mostly change it, too; if not, the command says what is to be granted.
    by = f" --by {there.rotation_schedule.by}" if there.rotation_schedule and there.rotation_schedule.by else ""
    if isinstance(there, Connector):
        mend, kind, margin = "service-connector", EndingKind.CONNECTOR, there.expires_skew_tolerance
    else:
        mend, kind, margin = "secret", EndingKind.SECRET, None
    command = f"valetkey {mend} rotate {there.name} --auto{by}"
    return Ending(kind, there.name, ends_at, _KNOWN_BY, command, timedelta(seconds=margin or 0))
