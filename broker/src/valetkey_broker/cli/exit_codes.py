"""How a command of the broker's ends: its exit code, and one line on what went wrong."""

import errno
import os
import sys
from collections.abc import Callable

from valetkey_broker.errors import EXIT_CONFIGURATION, BrokerError, ConfigurationError
from valetkey_broker.model import InvalidFieldError


def run_to_the_end(run: Callable[[], object]) -> None:
    """Runs a command. Exit codes: 0 done, 1 refused or failed, 2 usage, 78 configuration."""
    try:
        run()
    except ConfigurationError as error:
        for line in str(error).splitlines():
            _say(line)
        sys.exit(EXIT_CONFIGURATION)
    except (BrokerError, InvalidFieldError) as error:
        _say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Python must not try once more to write what is left, as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _say(f"cannot write: {error.strerror}")
        sys.exit(1)


def _say(what: str) -> None:
    print(f"Error: {what}", file=sys.stderr)  # noqa: T201 (typer takes long to load, and serving does without it)
