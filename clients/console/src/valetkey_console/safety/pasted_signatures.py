"""Signatures in our addresses: a SAS URL that was pasted into a field of a form whose answer has an address."""

import re
from collections.abc import Iterable

# In a query as it is, with `&` as HTML has it, and percent-encoded, however often.
_SIGNATURE = re.compile(r"(?:^|[?&;\s]|%(?:25)*(?:3f|26))sig(?:=|%(?:25)*3d)", re.IGNORECASE)
_QUESTION_MARK = re.compile(r"\?|%(?:25)*3f", re.IGNORECASE)


def without_signatures(given: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[str]]:
    """Returns the pairs of a query without what holds a signature, and the names of those that did.

    Of a value, what stands before its question mark is left. A pair of the name `sig` is of a URL that was put into an
    address as it is.
    """
    left, cut = [], []
    for name, value in given:
        if name.lower() == "sig":
            cut.append(name)
        elif _SIGNATURE.search(value):
            cut.append(name)
            before = _QUESTION_MARK.split(value, maxsplit=1)[0]
            left.append((name, "" if before == value or _SIGNATURE.search(before) else before))
        else:
            left.append((name, value))
    return left, cut
