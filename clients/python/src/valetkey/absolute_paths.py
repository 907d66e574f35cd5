"""Where files are, whatever folder the program goes to afterwards."""

import os
from pathlib import Path


def from_the_root(path: str | os.PathLike[str]) -> Path:
    """Returns a path that means the same file after `os.chdir`, as it is where the folder of now is gone.

    Identities are read anew for hours, and two files of one name in two folders are two callers. What begins with `~`
    is somebody's home and stays.
    """
    found = Path(path)
    try:
        return found if str(found).startswith("~") else found.absolute()
    except OSError:
        return found
