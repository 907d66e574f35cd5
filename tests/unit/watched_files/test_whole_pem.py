"""A PEM file that is still being written, wherever it breaks off."""

import pytest

from support.spiffe import SpiffeCa
from valetkey_broker.watched_files import is_whole_pem

FIRST, SECOND = SpiffeCa().pem.strip(), SpiffeCa().pem.strip()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_bundle_that_breaks_off_anywhere_is_not_whole(line_end: bytes) -> None:
    """Libraries read what stands before the break: all others that the last CA vouches for would be turned away."""
    first, whole = (pem.replace(b"\n", line_end) for pem in (FIRST + b"\n", FIRST + b"\n" + SECOND))
    assert [cut for cut in range(len(first) + 1, len(whole)) if is_whole_pem(whole[:cut])] == []
    assert is_whole_pem(whole)
    assert is_whole_pem(whole + line_end)


def test_what_is_no_pem_is_not_whole() -> None:
    """Nothing begins in it, so that nothing could be read."""
    assert not is_whole_pem(b"")
    assert not is_whole_pem(b"\x30\x82")


def test_what_others_write_beside_certificates() -> None:
    """Comments, whose lines may begin with anything, and certificates with no line between them, are no break."""
    assert is_whole_pem(b"# a CA -----\n" + FIRST + b"\n- of ours\n")
    assert is_whole_pem(FIRST + SECOND)
