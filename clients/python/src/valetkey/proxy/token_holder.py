"""What the proxy needs of whoever holds its tokens."""

from datetime import datetime
from typing import Any, Protocol


class StorageToken(Protocol):
    """A SAS token for one resource."""

    @property
    def sas(self) -> str:
        """The token itself, without a question mark."""

    @property
    def url(self) -> str:
        """URL of what it is for, without the token."""

    @property
    def expires_at(self) -> datetime:
        """When it ends."""


class TokenHolder(Protocol):
    """Holds a token that lives. Both raise a ValetKeyError where there is none, and none can be had."""

    async def current(self) -> StorageToken:
        """Returns the token, at once where there is a good one."""

    def may_renew(self, after: Any) -> bool:
        """Tells whether a newer token may help where storage refused `after`, and should be asked for."""

    async def renew(self, after: Any) -> StorageToken:
        """Returns a newer one than `after`, one of its own tokens, which storage has refused."""
