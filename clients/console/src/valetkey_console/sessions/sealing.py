"""What browsers keep for the console and must neither read nor change: JSON, sealed as JWE (dir, A256GCM)."""

import base64
import binascii
import json
import secrets
from pathlib import Path
from typing import Any

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from valetkey_console.settings import SettingsError

_BYTES = 32


class Seal:
    """Seals and opens values; the first key seals, all of them open, so that a key can be replaced."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = [OctKey.import_key(key) for key in keys]

    @classmethod
    def from_file(cls, file: Path | None) -> "Seal":
        """Returns the seal of a file with a key a line, each 32 bytes in base64; without a file, one of a new key.

        Raises SettingsError where the file cannot be read or holds something else.
        """
        if file is None:
            return cls([secrets.token_bytes(_BYTES)])
        try:
            keys = [base64.b64decode(line, validate=True) for line in file.read_text(encoding="ascii").split()]
        except OSError as error:
            raise SettingsError(f"session_key_file: {file} cannot be read: {error.strerror}") from None
        except (ValueError, binascii.Error):
            keys = []
        if not keys or any(len(key) != _BYTES for key in keys):
            raise SettingsError(
                f"session_key_file: {file} holds no key; expected 32 random bytes in base64, one key a line: "
                "openssl rand -base64 32"
            )
        return cls(keys)

    def close(self, purpose: str, content: dict[str, Any]) -> str:
        """Returns `content` sealed; it opens for the same purpose only."""
        header = {"alg": "dir", "enc": "A256GCM", "typ": purpose}
        return str(jwe.encrypt_compact(header, json.dumps(content, ensure_ascii=False).encode(), self._keys[0]))

    def open(self, purpose: str, sealed: str) -> dict[str, Any] | None:
        """Returns what was sealed for `purpose`, None for everything else."""
        for key in self._keys:
            try:
                found = jwe.decrypt_compact(sealed, key, algorithms=["dir", "A256GCM"])
                content = json.loads(found.plaintext or b"")
            except (JoseError, ValueError, TypeError):
                continue
            if found.protected.get("typ") == purpose and isinstance(content, dict):
                return content
        return None
