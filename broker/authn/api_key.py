"""Authenticates callers by API key."""

from collections.abc import Sequence
from datetime import UTC, datetime

from broker.errors import BrokerError, Reason
from broker.model import Principal, api_key_digest
from broker.ports import Clock
from broker.state.memory import Memory

_SCHEME = "Bearer "


class ApiKeyAuthenticator:
    """Looks a presented key up by its SHA-256, so how long that takes tells nothing about the key itself."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    def authenticate(self, authorization: Sequence[str | bytes]) -> Principal:
        """Returns the principal of the `authorization` headers of a call, of which there must be exactly one.

        Raises BrokerError: CREDENTIALS_MISSING, CREDENTIALS_INVALID or CREDENTIALS_EXPIRED.
        """
        if not authorization:
            raise BrokerError(
                Reason.CREDENTIALS_MISSING,
                "no API key given; send the metadata 'authorization: Bearer' with a space and the key behind it",
            )
        header = authorization[0]
        if len(authorization) > 1 or not isinstance(header, str) or not header.startswith(_SCHEME):
            raise BrokerError(
                Reason.CREDENTIALS_INVALID,
                "malformed authorization; expected exactly one header, 'Bearer' with a space and the key behind it",
            )
        digest = api_key_digest(header[len(_SCHEME) :])
        known = self._memory.keys_by_digest.get(digest) if digest is not None else None
        if known is None:
            raise BrokerError(
                Reason.CREDENTIALS_INVALID,
                "the API key is unknown or revoked; check it, or ask an admin for a new one",
            )
        if known.expires <= self._clock():
            expired_at = datetime.fromtimestamp(known.expires, UTC).isoformat(timespec="seconds")
            raise BrokerError(
                Reason.CREDENTIALS_EXPIRED,
                f"the API key expired at {expired_at}; ask an admin for a new one",
                {"expired_at": expired_at},
            )
        return known.principal
