"""The lines of a verification as they are gathered: what was tried, how it ended, and what was left untried by that."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Check, CheckOutcome


class VerifyStep(Enum):
    """What is tried, in the order in which it is shown; the value is what people read and programs match."""

    LOG_IN = "log in"
    ACCOUNTS = "find storage accounts"
    CONTAINERS = "list containers"
    CONTAINER = "look at the container"
    KEY = "get a signing key"
    TOKEN = "use a token"  # noqa: S105 (what is tried)
    CLOCK = "compare clocks"
    SETTINGS = "look at the account's settings"
    WRITE = "write a blob"
    READ = "read it back"
    LIST = "list it"
    SIBLING = "be refused at another container"
    OUTSIDE = "be refused outside of containers"
    DELETE = "delete it"


_ORDER = {step.value: number for number, step in enumerate(VerifyStep)}


@dataclass(slots=True)
class Line:
    """What a step that holds has to tell; with `warning` there is something to mend all the same."""

    message: str = ""
    mend: str = ""
    warning: bool = False


class Checklist:
    """The lines of one verification; `planned` are the steps that it takes where nothing fails."""

    def __init__(self, planned: Sequence[VerifyStep]) -> None:
        self._planned = planned
        self._checks: list[Check] = []

    @contextmanager
    def step(self, step: VerifyStep, account: str = "", container: str = "") -> Iterator[Line]:
        """Writes a line for what is done inside: it holds, unless a BrokerError is raised, which goes on."""
        line = Line()
        try:
            yield line
        except BrokerError as error:
            self._checks.append(failed(step, error, account, container))
            raise
        outcome = CheckOutcome.WARNING if line.warning else CheckOutcome.OK
        self._checks.append(Check(step.value, outcome, line.message, line.mend, account, container))

    def found(
        self,
        step: VerifyStep,
        outcome: CheckOutcome,
        message: str,
        mend: str = "",
        account: str = "",
        container: str = "",
    ) -> None:
        """Writes a line for what was looked at."""
        self._checks.append(Check(step.value, outcome, message, mend, account, container))

    def not_tried(self, step: VerifyStep, why: str, account: str = "", container: str = "") -> None:
        """Writes a line for what nobody needs, or what cannot be tried."""
        self._checks.append(Check(step.value, CheckOutcome.NOT_TRIED, why, "", account, container))

    def failed_at(self, step: VerifyStep) -> bool:
        """Tells whether a step failed, anywhere."""
        return any(check.step == step.value and check.outcome is CheckOutcome.FAILED for check in self._checks)

    def lines(self) -> Sequence[Check]:
        """Returns all lines in order, with one for each planned step that was not come to."""
        stopped = next((check for check in self._checks if check.outcome is CheckOutcome.FAILED), None)
        why = f"`{stopped.step}` failed" if stopped else "nothing was found to try it with"
        come_to = {check.step for check in self._checks}
        missing = [
            Check(step.value, CheckOutcome.NOT_TRIED, why) for step in self._planned if step.value not in come_to
        ]
        return sorted([*self._checks, *missing], key=_place)


def failed(step: VerifyStep, error: BrokerError, account: str = "", container: str = "") -> Check:
    """Returns the line for a step that raised `error`. Its message leaves out what `mend` says again."""
    todo, _, _ = error.mend.partition("\n")
    message = error.message.removesuffix(todo).rstrip(" :") if todo else error.message
    return Check(step.value, CheckOutcome.FAILED, message, error.mend, account, container)


def _place(check: Check) -> tuple[int, str, str]:
    return _ORDER[check.step], check.account, check.container
