"""Where the public keys of issuers come from, as a Protocol."""

from collections.abc import Mapping
from typing import Any, Protocol


class KeySourceError(Exception):
    """An issuer's keys cannot be had; the text is for the log and holds nothing secret."""


class KeySource(Protocol):
    """Where the public keys of one issuer come from."""

    async def fetch(self) -> Mapping[str, Any]:
        """Returns the issuer's JWKS as it stands now, in bounded time. Raises KeySourceError."""
        ...

    async def close(self) -> None:
        """Closes what is held. Never raises."""
        ...
