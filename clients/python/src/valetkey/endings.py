"""What ends, as the client shows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """One thing that ends; `end_time` is None where nobody knows when, and `known_by` says why.

    `kind` is of connector, secret, api-key, server-certificate, trust-bundle, vault-secret-id. `mend` is the command
    that mends it, or what to do where no command does.
    """

    kind: str
    name: str
    end_time: datetime | None
    known_by: str
    mend: str
