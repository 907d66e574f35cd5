"""Whose log-in a file holds, read without asking anybody."""

import json
from dataclasses import asdict
from pathlib import Path

from valetkey.errors import SettingsError
from valetkey.login.issuer_tokens import claims_in
from valetkey.login.store import read_login


def caller_in(path: Path) -> bytes | None:
    """Returns what stays the same of a log-in while its tokens are renewed; None where there is none."""
    try:
        login = read_login(path)
    except SettingsError:
        return None
    if login.tokens is None:
        return None
    subject = (claims_in(login.tokens.access) or {}).get("sub")
    # Where the token names nobody it has to be the same token.
    whose = subject if isinstance(subject, str) and subject else login.tokens.access
    return json.dumps([login.endpoint, asdict(login.offer), whose]).encode()
