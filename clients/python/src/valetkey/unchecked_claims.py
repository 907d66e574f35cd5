"""What a JWT says of itself. Nothing is checked here: that is the broker's."""

import base64
import json
from typing import Any

_PARTS = 3  # RFC 7519: header, claims, signature


def claims_in(token: str) -> dict[str, Any] | None:
    """Returns the claims of a JWT; None for what is no JWT."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def caller_named_in(token: str) -> str | None:
    """Returns whose a token says that it is: issuer and subject, which stay as it is renewed. None: it does not."""
    claims = claims_in(token) or {}
    named = [claims.get(name) for name in ("iss", "sub")]
    return json.dumps(named) if all(isinstance(each, str) and each for each in named) else None
