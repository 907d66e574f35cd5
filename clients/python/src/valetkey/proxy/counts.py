"""What went through a proxy, in numbers."""

from dataclasses import dataclass, field

from valetkey.proxy.token_holder import StorageToken


@dataclass(slots=True)
class Counts:
    """What went through so far; `failures` are answers of 400 and above but 404, 409 and 412, which are answers."""

    requests: int = 0
    refused: int = 0
    tokens: int = 0
    renewed_after_403: int = 0
    failures: int = 0
    _last: str = field(default="", repr=False)

    def had(self, token: StorageToken) -> None:
        """Counts a token the first time that it is there to be used."""
        if token.sas != self._last:
            self._last = token.sas
            self.tokens += 1

    def answered(self, status: int) -> None:
        """Counts an answer of storage."""
        self.failures += status >= 400 and status not in (404, 409, 412)  # noqa: PLR2004 (HTTP's errors)
