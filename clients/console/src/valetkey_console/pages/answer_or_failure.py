"""Answers of the broker that a page can do without: what was said, or why nothing was."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, TypeVar

from valetkey import NotFoundError, ValetKeyError
from valetkey_console.broker.failures import Failure, failure_on_page

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Told(Generic[Answer]):
    """What the broker said; None where it failed, or where there is no such thing."""

    value: Answer | None = None
    failure: Failure | None = None


async def told(asked: Awaitable[Answer]) -> Told[Answer]:
    """Returns what came of a call; lets through only that the person is not known any more."""
    try:
        return Told(await asked)
    except NotFoundError:
        return Told()
    except ValetKeyError as error:
        return Told(failure=failure_on_page(error, reading=True))
