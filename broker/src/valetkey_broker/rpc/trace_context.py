"""The caller's trace: its id goes into log lines and errors, so that one search finds the call on both sides.

Source: https://www.w3.org/TR/trace-context/, sections 3.2 and 4.3.
"""

import re
from collections.abc import Sequence

# A later version may append fields; none is called ff, and ids of zeros alone stand for "none".
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.{0,400})?"
)


def trace_id_of(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    """Returns the trace id of the one `traceparent` in the metadata of a call; "" without a valid one.

    It is 32 digits and nothing else: nothing that a caller makes up beyond that gets into log lines or errors.
    """
    found = [value for name, value in metadata if name == "traceparent"]
    if len(found) != 1 or not isinstance(found[0], str):
        return ""
    match = _TRACEPARENT.fullmatch(found[0])
    if match is None or (match["version"] == "00" and match["more"]):
        return ""
    return match["trace"]
