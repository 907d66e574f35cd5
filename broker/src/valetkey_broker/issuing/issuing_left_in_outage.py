"""For how long tokens could go on being issued if Vault went away now, or Entra."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.issuing.signing_keys import KeyInMemory, SigningKeys, usable_until
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory

# Whoever is refused asks again sooner, time after time.
_STILL_ASKED_SECONDS = 600.0


class KnowsVault(Protocol):
    """Knows how current memory is; state.background_sync.StateSync."""

    def seconds_left(self) -> float:
        """Returns for how many seconds requests would still be answered if Vault said nothing from now on."""
        ...

    def seconds_away(self) -> float | None:
        """Returns for how many seconds Vault has not answered, None while it does."""
        ...


@dataclass(frozen=True, slots=True)
class AccountLeft:
    """Until when a connector can sign tokens for an account from the key in memory; times are Unix seconds.

    `until` lies in the past where it cannot any more. `failing_since` is since when the cloud has given no other key,
    None where it gives them, or has not been asked.
    """

    connector: str
    account: str
    until: float
    failing_since: float | None


@dataclass(frozen=True, slots=True)
class Left:
    """What this process could do by itself; times are Unix seconds.

    `accounts` are what lives by keys of Entra's, the first to stop first. `without_key` names the connectors that have
    none in memory, for nobody had a token by them lately: without Entra they issue nothing. `lasting` counts those that
    sign with keys of the account and need no Entra.
    """

    without_vault_until: float
    vault_away_since: float | None
    accounts: Sequence[AccountLeft]
    without_key: Sequence[str]
    lasting: int


class IssuingLeft:
    """Tells it from memory: neither Vault nor the cloud is asked, which may be away."""

    def __init__(
        self, memory: Memory, keys: SigningKeys, auth_methods: Mapping[str, AuthMethod], vault: KnowsVault, clock: Clock
    ) -> None:
        self._memory = memory
        self._keys = keys
        self._auth_methods = auth_methods
        self._vault = vault
        self._clock = clock

    async def now(self) -> Left:
        """Returns how it is now."""
        now, away = self._clock(), self._vault.seconds_away()
        connectors = self._memory.connectors
        fetching = {name: each for name, each in connectors.items() if self._fetches(each.auth_method)}
        lasting = len(connectors) - len(fetching)  # While others have their turn, connectors may come and go.
        accounts: list[AccountLeft] = []
        async for some in slices(self._keys.in_memory(fetching.values())):
            accounts += (left for each in some if (left := self._left(each, now)) is not None)
        accounts.sort(key=_turn)
        return Left(
            without_vault_until=now + self._vault.seconds_left(),
            vault_away_since=None if away is None else now - away,
            accounts=accounts,
            without_key=sorted(fetching.keys() - {each.connector for each in accounts}),
            lasting=lasting,
        )

    def _left(self, kept: KeyInMemory, now: float) -> AccountLeft | None:
        """Returns nothing of a key that nobody asks for, and of one that nobody asks for any more.

        The one ended because it was not used. The other was refused once; whether it still would be, nobody knows.
        """
        until, failing = usable_until(kept.key) if kept.key is not None else 0.0, kept.failing_since
        if until <= now:
            if failing is None or kept.refused_at < now - _STILL_ASKED_SECONDS:
                return None
            until = max(until, failing)  # Before somebody asked, and was refused, it had not stopped.
        return AccountLeft(kept.connector.name, kept.account, until, failing)

    def _fetches(self, auth_method: str) -> bool:
        method = self._auth_methods.get(auth_method)
        return method is None or method.fetches_keys


def _turn(left: AccountLeft) -> tuple[float, str, str]:
    return left.until, left.connector, left.account
