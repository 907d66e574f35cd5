"""How Entra's token endpoint refuses."""

import uuid
from datetime import UTC, datetime
from typing import Any


class EntraError(Exception):
    """An answer other than a token: HTTP status, OAuth error, AADSTS number, text."""

    def __init__(self, status: int, error: str, code: int, text: str) -> None:
        self.status = status
        self.error = error
        self.code = code
        self.text = text
        super().__init__(text)

    def body(self) -> dict[str, Any]:
        """Returns the JSON that Entra answers with."""
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        now = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.code}: {self.text} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {now}",
            "error_codes": [self.code],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
        }
