"""The one exception of values that cannot be made."""


class InvalidFieldError(ValueError):
    """A field is malformed.

    Its text may travel to the caller: it names the field, the problem and what was expected, and holds of the
    offending value only what `shown` made safe to print.
    """

    def __init__(self, field: str, problem: str, expected: str) -> None:
        self.field = field
        self.problem = problem
        self.expected = expected
        super().__init__(f"{field}: {problem}; expected {expected}")


def shown(value: str, limit: int = 80) -> str:
    """Returns `value` quoted for a message: ASCII only, control characters escaped, cut at `limit`."""
    text = ascii(value[:limit])
    return text if len(value) <= limit else f"{text}…"
