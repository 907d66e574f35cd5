"""Reads the JSON documents that an issuer publishes, trusting nothing in them."""

import json
from typing import Any

from valetkey_broker.ports import KeySourceError

MAX_BYTES = 256 * 1024


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """Returns a JSON object of at most MAX_BYTES. Raises KeySourceError, whose text quotes nothing of it."""
    if len(raw) > MAX_BYTES:
        raise KeySourceError(f"{what} is over {MAX_BYTES} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise KeySourceError(f"{what} is not JSON") from None
    if not isinstance(document, dict):
        raise KeySourceError(f"{what} is not a JSON object")
    return document
