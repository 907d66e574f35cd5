"""The end of the secret id with which the broker logs in to Vault."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, runtime_checkable

from valetkey_broker.errors import BrokerError
from valetkey_broker.model.ending import Ending, EndingKind

_NAME = "vault.secret_id_file"
_MEND = (
    "put what `bao write -f -field=secret_id auth/approle/role/ROLE/secret-id` prints into the file of "
    "vault.secret_id_file: the next login takes it"
)
_LET_IT_LOOK = "write the broker's policy again, as docs/vault.md says: then it may look up its own secret id"


@runtime_checkable
class KnowsItsLogin(Protocol):
    """A state store that can tell when its own login ends."""

    async def secret_id_end(self) -> datetime | None:
        """Returns when the secret id ends, None where it never does. Raises VAULT_UNAVAILABLE."""
        ...


class VaultLogin:
    """A source (see endings.py)."""

    def __init__(self, store: KnowsItsLogin) -> None:
        self._store = store

    async def __call__(self) -> Iterable[Ending]:
        """Returns when the secret id ends; nothing where it never does."""
        try:
            ends = await self._store.secret_id_end()
        except BrokerError as error:
            denied = error.metadata.get("cause") == "denied"
            why = "the broker may not look it up" if denied else "Vault does not tell now"
            mend = _LET_IT_LOOK if denied else ""
            return [Ending(EndingKind.VAULT_SECRET_ID, _NAME, None, why, mend, not_looked_at=not denied)]
        return [Ending(EndingKind.VAULT_SECRET_ID, _NAME, ends, "Vault", _MEND)] if ends is not None else []
