"""What `make bench` measures, part by part: each prints its details and gives its lines of the table at the end.

To add one: a module with an `async def NAME(arguments) -> Sequence[Result]`, and its row here.
"""

import argparse
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from bench import decide
from bench.against_echo import api_key_only, every_caller
from bench.against_itself import during_sweeps, two_workers
from bench.cold_callers import after_a_restart
from bench.command_line import issuing_by_command
from bench.earlier_build import against_earlier
from bench.metrics_cost import with_metrics
from bench.openbao_read import against_openbao
from bench.results import Result

Part = Callable[[argparse.Namespace], Coroutine[Any, Any, Sequence[Result]]]


async def _deciding(_arguments: argparse.Namespace) -> Sequence[Result]:
    return decide.deciding()


PARTS: Mapping[str, Part] = {
    "echo": every_caller,
    "builds": against_earlier,
    "openbao": against_openbao,
    "cold": after_a_restart,
    "workers": two_workers,
    "sweep": during_sweeps,
    "metrics": with_metrics,
    "decide": _deciding,
    "command": issuing_by_command,
}
"""In the order in which they run, by what `--only` calls them."""

SMALL_PARTS: Mapping[str, Part] = {"key": api_key_only}
"""What is in another part already: only for `--only`."""
