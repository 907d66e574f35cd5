"""Hands the caller's trace on to the broker, where OpenTelemetry is in use; nothing of it is imported for that."""

import sys
from typing import Any

_HEADER = "traceparent"


def with_trace(metadata: tuple[tuple[str, str], ...] | None) -> tuple[tuple[str, str], ...] | None:
    """Returns what a call carries, and the W3C `traceparent` of the running span if there is one.

    The broker puts its trace id into its log lines and errors.
    """
    # Whoever has a span has imported this; whoever has not is not made to.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return metadata
    try:
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return metadata
        value = f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
    except (AttributeError, TypeError, ValueError):  # Half imported, or another library of that name.
        return metadata
    return (*(metadata or ()), (_HEADER, value))
