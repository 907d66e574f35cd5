"""The long-lived secrets behind connectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime


class CredentialValue:
    """What a connector proves itself with. Each auth method has a type of its own, whose secrets are `Secret`s.

    Two values are equal where they prove the same; none shows itself.
    """

    __slots__ = ()

    @property
    def expires_at(self) -> datetime | None:
        """When it ends, as far as it says so itself; None where only Azure knows."""
        return None


@dataclass(frozen=True, slots=True)
class Credential:
    """The credential of a connector, in one version. Version 0 is not stored yet."""

    version: int
    value: CredentialValue = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One thing that an operator gives for an auth method.

    `name` is that of the field in the API; `secret` says whether it is kept in Vault and never shown again. `choices`
    are the words that it can be, where it is one of a few.
    """

    name: str
    secret: bool
    required: bool
    help: str
    example: str
    choices: Sequence[str] = ()
