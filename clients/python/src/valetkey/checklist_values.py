"""What the broker checked of a connector, line by line."""

from collections.abc import Iterable
from dataclasses import dataclass

from valetkey.v1 import errors_pb2

_PREFIX = "CHECK_OUTCOME_"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was tried, and how it ended.

    `outcome` is `ok`, `failed`, `not-tried` or `warning`: it holds today, and there is something to mend. `message`
    says what was found or is wrong, `mend` what to do, often a command to paste. `account` and `container` are empty
    where it is about none in particular.
    """

    step: str
    outcome: str
    message: str = ""
    mend: str = ""
    account: str = ""
    container: str = ""


def checks_of(messages: Iterable[errors_pb2.Check]) -> tuple[Check, ...]:
    """Returns the lines of an answer, or of an error."""
    return tuple(
        Check(message.step, _word(message.outcome), message.message, message.mend, message.account, message.container)
        for message in messages
    )


def _word(number: int) -> str:
    try:
        name = errors_pb2.CheckOutcome.Name(errors_pb2.CheckOutcome.ValueType(number))
    except ValueError:
        return f"unknown-{number}"  # a newer broker's
    return name.removeprefix(_PREFIX).lower().replace("_", "-")
