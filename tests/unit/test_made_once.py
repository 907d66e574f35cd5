"""Keys of the tests' issuers are the same ones in every thread: the server's that shows them, the test's that signs."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from support.made_once import made_once


def test_two_threads_have_the_same_one() -> None:
    """Protects from a token that is signed by a key which the issuer does not show."""
    both_in = threading.Barrier(2)

    @made_once
    def make() -> object:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_in.wait(0.2)
        return object()

    with ThreadPoolExecutor(2) as pool:
        one, other = (each.result() for each in [pool.submit(make), pool.submit(make)])
    assert one is other
