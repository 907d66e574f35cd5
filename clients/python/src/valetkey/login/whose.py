"""Whose log-in a file holds, read without asking anybody."""

import json
from dataclasses import asdict
from pathlib import Path

from valetkey.errors import SettingsError
from valetkey.login.store import read_login
from valetkey.unchecked_claims import caller_named_in


def log_in_of(path: Path) -> bytes | None:
    """Returns what stays the same of a log-in while its tokens are renewed; None where there is none."""
    try:
        login = read_login(path)
    except SettingsError:
        return None
    if login.tokens is None:
        return None
    # Only our own log-in writes there, and only what it has from the issuer itself.
    whose = caller_named_in(login.tokens.access) or login.tokens.access
    return json.dumps([login.endpoint, asdict(login.offer), whose]).encode()
