"""What the ledger is told of the end of keys."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from valetkey_broker.model import Event, EventKind, cut, details_of
from valetkey_broker.model.revocation import KeyRevocation, Revocation
from valetkey_broker.ports import Clock

METHOD = "/valetkey.v1.RevocationService/CreateRevocation"
"""By what call all of it was begun."""


@dataclass(frozen=True, slots=True)
class KeyRecords:
    """Makes the events; each has an id of its own."""

    clock: Clock

    def event(self, kind: EventKind, revocation: Revocation, keys: KeyRevocation, details: dict[str, str]) -> Event:
        """Returns the record of something that was done about keys for a revocation."""
        return Event(
            kind=kind,
            time=self.clock(),
            request_id=str(uuid.uuid4()),
            method=METHOD,
            principal=revocation.created_by,
            object=f"revocations/{revocation.name}",
            connector=keys.through,
            details=details,
        )

    def hit(
        self,
        revocation: Revocation,
        keys: KeyRevocation,
        covered: Sequence[Event],
        others: Sequence[Event],
        *,
        more: bool,
    ) -> Event:
        """Returns the record of which living tokens the end of some keys hit, or `more` than those."""
        until = max((each.expires for each in (*covered, *others)), default=0)
        told = details_of(
            account=keys.account,
            covered=str(len(covered)),
            others=str(len(others)),
            others_of=cut(", ".join(sorted({each.principal for each in others}))),
            seconds_left=str(max(0, round(until - self.clock()))),
            rotated=keys.rotates,
            at_least="yes" if more else "",
        )
        return self.event(EventKind.KEYS_REVOKED, revocation, keys, told)
