"""Public keys from a file, for brokers that cannot reach the issuer."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valetkey_broker.adapters.oidc.document import MAX_BYTES, read_object
from valetkey_broker.ports import KeySourceError


class FileKeySource:
    """Reads a JWKS file, anew each time it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> Mapping[str, Any]:
        """Returns the JWKS. Raises KeySourceError."""
        try:
            raw = await asyncio.to_thread(self._read)
        except OSError as error:
            raise KeySourceError(f"{self._path}: cannot be read: {error.strerror}") from None
        return read_object(raw, str(self._path))

    async def close(self) -> None:
        """Has nothing to close."""

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
