"""What `make bench` measures, part by part: each prints its details and gives its lines of the table at the end.

To add one: a module with an `async def NAME(arguments) -> Sequence[Result]`, and its row here.
"""

import argparse
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from bench import decide
from bench.against_echo import api_key_only, every_caller
from bench.against_itself import during_sweeps, two_workers, with_metrics
from bench.results import Result

Part = Callable[[argparse.Namespace], Coroutine[Any, Any, Sequence[Result]]]


async def _deciding(_arguments: argparse.Namespace) -> Sequence[Result]:
    decide.main()
    return ()


PARTS: Mapping[str, Part] = {
    "echo": every_caller,
    "workers": two_workers,
    "sweep": during_sweeps,
    "metrics": with_metrics,
    "decide": _deciding,
}
"""In the order in which they run, by what `--only` calls them."""

SMALL_PARTS: Mapping[str, Part] = {"key": api_key_only}
"""What is in another part already: only for `--only`."""
