"""Whose log-in a file holds, read without asking anybody."""

import json
from dataclasses import asdict
from pathlib import Path

from valetkey.errors import SettingsError
from valetkey.login.store import read_login
from valetkey.unchecked_claims import caller_in


def log_in_of(path: Path) -> bytes | None:
    """Returns what stays the same of a log-in while its tokens are renewed; None where there is none."""
    try:
        login = read_login(path)
    except SettingsError:
        return None
    if login.tokens is None:
        return None
    return json.dumps([login.endpoint, asdict(login.offer), caller_in(login.tokens.access)]).encode()
