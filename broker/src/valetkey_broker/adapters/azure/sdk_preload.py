"""The parts of Azure's SDK that a broker needs for its first question to Azure, and not to listen."""

import asyncio
from importlib import import_module

import structlog

# Each is imported where it is used as well, in the function: whoever is not a server loads what it uses.
LATE_MODULES = ("azure.identity.aio", "azure.storage.blob.aio")


async def preload_sdks() -> None:
    """Loads them in a thread, so that no question waits for that, and the event loop goes on meanwhile."""
    try:
        await asyncio.to_thread(_load)
    except ImportError as error:
        # Not the end: what needs none of them works, and what does will say it again.
        structlog.get_logger().error("a part of Azure's SDK cannot be loaded; is it installed?", module=error.name)


def _load() -> None:
    for name in LATE_MODULES:
        import_module(name)
