"""What is wrong with the fields of a form, all in one answer: nobody is to send a form once for each mistake."""

from collections.abc import Callable
from typing import TypeVar

from valetkey import InvalidArgumentError
from valetkey_console.broker.form_validation_error import FormValidationError
from valetkey_console.fields.parsing import wrong

Given = TypeVar("Given")
Value = TypeVar("Value")


class FieldProblems:
    """Gathers what is wrong, in the order in which it is looked at: that of the page."""

    def __init__(self) -> None:
        self._found: list[InvalidArgumentError] = []

    def add(self, field: str, problem: str) -> None:
        """Notes what is wrong with a field."""
        self._found.append(wrong(field, problem))

    def require(self, given: object, field: str, expected: str, missing: str = "nothing is entered") -> None:
        """Notes that a field is empty which must not be."""
        if not given:
            self.add(field, f"{missing}; expected {expected}")

    def read(self, parse: Callable[[Given, str], Value], given: Given, field: str) -> Value | None:
        """Returns what is given of a field; None where it is wrong, which is noted."""
        try:
            return parse(given, field)
        except InvalidArgumentError as error:
            self._found.append(error)
            return None

    def check(self) -> None:
        """Raises FormValidationError where anything was noted."""
        if self._found:
            raise FormValidationError(self._found)
