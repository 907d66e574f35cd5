"""What ends, and for how long issuing would go on, as the client shows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """One thing that ends; `end_time` is None where nobody knows when, and `known_by` says why.

    `kind` is of connector, secret, api-key, server-certificate, trust-bundle, vault-secret-id. `mend` is the command
    that mends it, or what to do where no command does. With `not_looked_at` it could not be looked at just now: it may
    end at any time, or have ended.
    """

    kind: str
    name: str
    end_time: datetime | None
    known_by: str
    mend: str
    not_looked_at: bool = False


@dataclass(frozen=True, slots=True)
class AccountIssuingLeft:
    """Until when a connector can sign tokens for an account if Entra gives access to no other key.

    `end_time` lies in the past where it has stopped already. `failing_since_time` is since when no other key was given,
    though asked for; None where keys are given, or were not asked for.
    """

    connector: str
    account: str
    end_time: datetime
    failing_since_time: datetime | None


@dataclass(frozen=True, slots=True)
class IssuingLeft:
    """For how long tokens could go on being issued if Vault went away now, or Entra: by the worker that answered.

    `without_vault_end_time` is until when requests are answered if Vault says nothing from now on, and
    `vault_away_since_time` since when it has not, None while it does. `accounts` are those whose keys come by way of
    Entra, the first to stop first, at most 100; `connectors_without_key` have none in memory and would stop at once,
    at most 100 names; `…_left_out` says how many more there are. `connectors_with_lasting_keys` need no Entra.
    """

    without_vault_end_time: datetime
    vault_away_since_time: datetime | None
    accounts: tuple[AccountIssuingLeft, ...]
    accounts_left_out: int
    connectors_without_key: tuple[str, ...]
    connectors_without_key_left_out: int
    connectors_with_lasting_keys: int
