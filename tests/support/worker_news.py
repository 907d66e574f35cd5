"""Until every worker of a broker has heard of a change: one makes it, and the others ask Vault about once a second."""

import re
import time
import tomllib
from pathlib import Path

from support.e2e import soon
from support.scraping import get

_AGES = re.compile(r"^valetkey_vault_answer_age_seconds\{[^}]*\} (\S+)$", re.MULTILINE)
_WORKERS = re.compile(r"^valetkey_worker_up\{", re.MULTILINE)
# The metrics that are told may be so old: valetkey_broker.metrics.http_server.
_KEPT_SECONDS = 0.5
# An answer of Vault's that came since the change may be to a question from before; it was not under way for so long.
_UNDER_WAY_SECONDS = 0.4
_PATIENCE_SECONDS = 60.0


def wait_until_heard(settings_file: Path, changed: float) -> None:
    """Waits until all have heard of what was changed at `changed`, by time.monotonic().

    The broker's settings say where its metrics are.
    """
    port: int = tomllib.loads(settings_file.read_text())["metrics"]["port"]
    heard = soon(lambda: _all_current(port) > changed + _UNDER_WAY_SECONDS, _PATIENCE_SECONDS)
    assert heard, f"some worker has not heard for {_PATIENCE_SECONDS:g} s what Vault has"


def _all_current(port: int) -> float:
    """Returns since when every worker is current, at the least, by time.monotonic()."""
    asked = time.monotonic()
    _, text = get(port, "/metrics")
    ages = [float(age) for age in _AGES.findall(text)]
    told_by_all = len(ages) == len(_WORKERS.findall(text)) > 0
    return asked - _KEPT_SECONDS - max(ages) if told_by_all else float("-inf")
