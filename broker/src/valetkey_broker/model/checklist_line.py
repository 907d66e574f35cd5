"""What verifying a connector looked at, line by line."""

from dataclasses import dataclass
from enum import Enum


class CheckOutcome(Enum):
    """How one check ended; the value is what tables show."""

    OK = "ok"
    FAILED = "failed"
    NOT_TRIED = "not tried"
    WARNING = "warning"
    """It holds today, and there is something to mend."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `message` says what was found or is wrong, `mend` what to do about it, often a command to paste.

    `account` and `container` are empty where it is about none in particular. For those who run the broker.
    """

    step: str
    outcome: CheckOutcome
    message: str = ""
    mend: str = ""
    account: str = ""
    container: str = ""
