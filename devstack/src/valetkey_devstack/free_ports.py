"""Free ports on loopback."""

import random
import socket
import sys

HOST = "127.0.0.1"

# Below the range Linux takes for outgoing connections (from 32768) and that of Kubernetes' node ports (from
# 30000): between choosing a port and its server binding it, no stray connection can take it.
_FIRST, _LAST = 20_000, 29_999
_given: set[int] = set()


def free_port() -> int:
    """Returns a TCP port that is free on 127.0.0.1 now; no other call gets it while this process lives.

    That holds on Linux; elsewhere, for this process only. Raises OSError where no free port was found.
    """
    for port in random.sample(range(_FIRST, _LAST + 1), k=200):
        if port not in _given and is_free(port) and _claimed(port):
            _given.add(port)
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST} on {HOST}")


def is_free(port: int) -> bool:
    """Returns whether `port` can be bound on 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are only winding down counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _claimed(port: int) -> bool:
    """Keeps other stacks from `port` until a server has bound it, which takes seconds; tells whether none was first.

    An abstract socket does that, not the port itself, which the server needs; the kernel drops it with the process.
    """
    if sys.platform != "linux":
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind(f"\0valetkey-dev-port:{port}")
        except OSError:
            return False
        claim.detach()  # Open for as long as this process lives.
    return True
