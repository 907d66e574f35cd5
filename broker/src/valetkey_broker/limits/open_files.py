"""How many files, connections above all, this process may have open."""

import contextlib
import resource

import structlog

# A connection takes one, and so do Vault, Azure and the ledger.
_ENOUGH = 8192


def raise_open_files() -> int:
    """Raises the soft limit to the hard one and returns it; warns where even that is low.

    Shells and services often set 1,024 as the soft limit, for programs that still use select(2): so many silent
    connections would lock everybody out.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # Some systems say "unlimited" and do not mean it.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < _ENOUGH:
        structlog.get_logger().warning(
            "few files may be open, so few connections: raise the hard limit (LimitNOFILE of systemd, ulimit -Hn)",
            limit=hard,
            enough=_ENOUGH,
        )
    return hard
