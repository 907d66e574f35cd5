"""Tells a PEM file that is all there from one that is still being written."""

import re

_BEGIN = b"-----BEGIN "
_END = re.compile(rb"-----END [^\r\n]+?-----")


def is_whole_pem(pem: bytes) -> bool:
    """Tells whether there is something in PEM, and all that begins ends.

    Libraries read the whole certificates of a file that breaks off, and say nothing of the one that does.
    """
    last = pem.rpartition(b"\n")[2]
    breaks_off = bool(last) and _BEGIN.startswith(last)
    return not breaks_off and 0 < pem.count(_BEGIN) == len(_END.findall(pem))
