"""`serve`, and `worker`, as they are nearly always called, without the command line's library.

To load that, and to build its commands, takes a tenth of a broker's start. What is not plainly right is left to it: it
says what is wrong, and knows `--help`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CONFIG_ENV = "VALETKEY_BROKER_CONFIG"
MOST_WORKERS = 64


class ServeCommand(NamedTuple):
    """What to call of cli/serve.py."""

    function: str
    arguments: tuple[Path | int | None, ...]


def plainly_served(words: Sequence[str], environment: Mapping[str, str]) -> ServeCommand | None:
    """Returns what `words`, the arguments of `valetkey-broker`, ask for; None where it is not serving, or not plain."""
    command, *rest = words or [""]
    if command not in ("serve", "worker") or any(name.endswith("_COMPLETE") for name in environment):
        return None
    options = _options(rest, {"--config": environment.get(CONFIG_ENV, ""), "--workers": ""})
    if options is None or not options["--config"]:
        return None
    config, workers = Path(options["--config"]), options["--workers"]
    if command == "worker":
        return None if workers else ServeCommand("serve_as_worker", (config,))
    if workers and not (workers.isascii() and workers.isdecimal() and 1 <= int(workers) <= MOST_WORKERS):
        return None
    return ServeCommand("serve_alone_or_supervise", (config, int(workers) if workers else None))


def _options(words: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str] | None:
    """Returns the options with what `words` say of them; None where these say anything else."""
    options = dict(defaults)
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        name = "--config" if word == "-c" else name
        value = value if equals else next(left, "")
        if name not in options or not value or value.startswith("-"):
            return None
        options[name] = value
    return options
