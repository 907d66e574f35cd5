"""Asks a person before something is done that others would miss; scripts say `--yes`."""

import sys

from valetkey.cli.screen import Screen
from valetkey.errors import InvalidArgumentError


def confirm(screen: Screen, what: str, consequences: str, *, yes: bool, for_good: bool = True) -> None:
    """Says what goes along with what is done, and asks a person; a script has to say `--yes`.

    `what` is the deed, such as "delete grant x"; it is asked whether to do it for good, unless it can be taken back.
    Raises InvalidArgumentError where nobody said yes.
    """
    screen.note(f"{what}: {consequences}")
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgumentError(
            f"{what}: not confirmed, and there is no terminal to ask at; nothing was changed; pass --yes"
        )
    sys.stderr.write(f"{what[0].upper()}{what[1:]}{' for good' if for_good else ''}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidArgumentError("not confirmed, nothing was changed; answer y, or pass --yes")
