"""Public keys from a file, for brokers that cannot reach the issuer."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valetkey_broker.adapters.oidc.issuer_document import read_object
from valetkey_broker.authn.jwks import read_jwks
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ports import KeySourceError
from valetkey_broker.watched_files import CHECK_SECONDS, WatchedFiles


class FileKeySource:
    """Follows a JWKS file; the last good keys stay while it is missing or broken."""

    def __init__(self, path: Path, *, check_seconds: float = CHECK_SECONDS) -> None:
        def make(contents: Mapping[str, bytes]) -> Mapping[str, Any]:
            try:
                document = read_object(contents["jwks_file"], str(path))
                read_jwks(document)
            except KeySourceError as error:
                raise ConfigurationError(str(error)) from None
            return document

        self._keys = WatchedFiles("the keys of an issuer", {"jwks_file": path}, make, check_seconds=check_seconds)

    async def fetch(self) -> Mapping[str, Any]:
        """Returns the JWKS. Raises KeySourceError where there has not been a good one yet."""
        try:
            return await asyncio.to_thread(self._keys.current)
        except ConfigurationError as error:
            raise KeySourceError(str(error)) from None

    async def close(self) -> None:
        """Has nothing to close."""
