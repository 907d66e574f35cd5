"""API keys are made here, on the caller's side: the broker only ever learns their SHA-256."""

import base64
import hashlib
import secrets

_RANDOM_BYTES = 32


def generate_api_key() -> str:
    """Returns a new API key: `vk_` and 32 random bytes in base64url without padding (RFC 4648, section 5)."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_RANDOM_BYTES)).rstrip(b"=")
    return f"vk_{secret.decode('ascii')}"


def api_key_sha256(key: str) -> bytes:
    """Returns the SHA-256 of the whole key, 32 bytes, as CreateApiKey takes it.

    Raises UnicodeEncodeError where the key is not ASCII; no key of ours is.
    """
    return hashlib.sha256(key.encode("ascii")).digest()
