"""A service as the server takes it: what it is called, how it is added, and what answers its calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service. `add` is the generated `add_…Servicer_to_server`."""

    name: str
    add: Callable[[Any, Any], None]
    implementation: object
    end: Callable[[], None] = _nothing
    """Called when the server stops: its streams are to end by themselves, with a reason."""
