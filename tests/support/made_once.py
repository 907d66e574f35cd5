"""What is made once per process, in whichever threads it is asked for."""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def made_once(make: Callable[P, T]) -> Callable[P, T]:
    """Has `make` called once for the same arguments: functools.cache calls it in each thread that comes amid a call."""
    cached, lock = functools.cache(make), threading.Lock()

    @functools.wraps(make)
    def one(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return cached(*args, **kwargs)  # type: ignore[arg-type]

    return one
