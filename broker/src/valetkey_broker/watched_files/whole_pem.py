"""Tells a PEM file that is all there from one that is still being written."""

_BEGIN, _END = b"-----BEGIN ", b"-----END "


def is_whole_pem(pem: bytes) -> bool:
    """Tells whether there is something in PEM, and all that begins ends.

    Libraries read the whole certificates of a file that breaks off, and say nothing of the one that does.
    """
    return 0 < pem.count(_BEGIN) == pem.count(_END)
