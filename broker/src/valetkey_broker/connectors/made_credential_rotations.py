"""Rotations for which nobody gives a credential: the broker has its provider make one."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from valetkey_broker.connectors.account_key_source import ACCOUNT_KEY
from valetkey_broker.connectors.client_secret_source import GRAPH, SECRET_DAYS
from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.connectors.rotation_admin import Rotations
from valetkey_broker.errors import cannot_rotate_by_itself, connector_not_found
from valetkey_broker.model import (
    CallInfo,
    Connector,
    InvalidFieldError,
    NamedSecret,
    NewWay,
    Rotation,
    RotationState,
    check_name,
)
from valetkey_broker.ports import Clock
from valetkey_broker.ports.credential_maker import CredentialMaker

# Graph makes none that is good for longer: https://learn.microsoft.com/graph/api/application-addpassword
_MOST_DAYS = 730


@dataclass(frozen=True, slots=True)
class Automatic:
    """How a credential is to be had. `by` names the connector by whose rights; empty: the rotated one's own.

    With `at_once` an old account key is regenerated without waiting for the end of what it signed. `every_seconds` is
    how often a schedule rotates, 0 without one.
    """

    by: str = ""
    at_once: bool = False
    prove_seconds: int | None = None
    every_seconds: int = 0


class MadeCredentialRotations:
    """Begins such rotations of the object at `connectors/NAME` or `secrets/NAME`."""

    def __init__(self, rotations: Rotations, objects: CredentialHolders, maker: CredentialMaker, clock: Clock) -> None:
        self._rotations = rotations
        self._objects = objects
        self._maker = maker
        self._clock = clock

    async def rotate(self, object_path: str, wanted: Automatic, call: CallInfo) -> Rotation:
        """Begins a rotation, once the provider was seen to let the broker look; it goes on by itself.

        Raises what `Rotations.rotate` raises, INVALID_FIELD where no provider makes such credentials, or
        CLOUD_PERMISSION_MISSING with what to grant.
        """
        return await self._rotations.begin(await self.drafted(object_path, wanted, call), None)

    async def drafted(self, object_path: str, wanted: Automatic, call: CallInfo) -> Rotation:
        """Returns a rotation for `Rotations.begin`, without a credential. Raises what `rotate` does."""
        there = await self._rotations.there(object_path)
        await self._objects.repository.rotations.check_none_under_way(object_path, there.uid)
        source = await self.checked(object_path, there, wanted.by)
        ends = None
        if source == GRAPH:
            days = min(max(timedelta(days=SECRET_DAYS), timedelta(seconds=2 * wanted.every_seconds)).days, _MOST_DAYS)
            ends = datetime.fromtimestamp(int(self._clock()), UTC) + timedelta(days=days)
        draft = self._rotations.draft(
            there, source, NewWay(there.auth_method, expires_at=ends), call, wanted.prove_seconds
        )
        notes = {"by": wanted.by, "now": "yes" if wanted.at_once else ""}
        notes = {name: value for name, value in notes.items() if value}
        return replace(draft, state=RotationState.OBTAINING, notes=notes)

    async def checked(self, object_path: str, there: Connector | NamedSecret, by: str) -> str:
        """Returns the source for an object, having asked the provider to show what there is. Raises as `rotate`."""
        if by:
            self._check_by(there, by)
        _, credential = await self._objects.itself(there)
        account_key = self._objects.account_key(there.auth_method, credential.value)
        if account_key is not None and not by:
            raise InvalidFieldError(
                "by", "is not given", "a connector whose service principal may list and regenerate the account's keys"
            )
        encoded = self._objects.auth_methods[there.auth_method].encode(credential.value)
        if account_key is None and "client_secret" not in encoded:
            what = "a certificate" if "client_certificate" in encoded else "what the broker itself is"
            raise cannot_rotate_by_itself(
                object_path, f"it logs in with {what}, which nobody makes for it", "give it the new one yourself"
            )
        asker, own = await self._objects.asked_by(there, by)
        if account_key is not None:
            await self._maker.account_keys(asker, own, there.azure.storage_account)
            return ACCOUNT_KEY
        await self._maker.passwords(asker, own, there.azure.client_id)
        return GRAPH

    def _check_by(self, there: Connector | NamedSecret, by: str) -> None:
        connector = self._objects.memory.connectors.get(check_name("by", by))
        if connector is None:
            raise connector_not_found(by)
        if connector.azure.cloud != there.azure.cloud:
            raise InvalidFieldError("by", "is in another cloud", f"a connector in {there.azure.cloud}")
