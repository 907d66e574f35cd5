"""Errors about several fields of one form."""

from collections.abc import Sequence

from valetkey import InvalidArgumentError


class FormValidationError(InvalidArgumentError):
    """Several fields are wrong: `errors` has what is wrong with each, and this error says that of the first."""

    def __init__(self, errors: Sequence[InvalidArgumentError]) -> None:
        super().__init__(errors[0].message, metadata=errors[0].metadata)
        self.errors = tuple(errors)
