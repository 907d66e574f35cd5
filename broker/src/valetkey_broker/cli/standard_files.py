"""Standard input, output and error of a process that was started without them."""

import os
import sys
from pathlib import Path


def open_closed_standard_files() -> None:
    """Has those that are closed lead nowhere: what is opened next would stand in their place, a connection for one.

    Nor could the log be written, without a standard output; whoever closed it wants none.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # As Python has it. What is opened has the lowest number, the one that is free.
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 (for as long as the process lives)
