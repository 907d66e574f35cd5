"""A process that writes to a ledger: `python -m support.ledger_load URL EVENTS AT_ONCE`. Prints its writer when done.

Each event's purpose is unique to it, so that none is mistaken for another's.
"""

import asyncio
import os
import sys

import uvloop

from support.ledgers import issued, open_ledger
from valetkey_broker.errors import BrokerError


async def write(url: str, events: int, at_once: int) -> str:
    """Writes as that many callers at once do, each again after a refusal. Returns the writer's name."""
    async with open_ledger(url) as ledger:

        async def caller(first: int) -> None:
            for number in range(first, events, at_once):
                event = issued(purpose=f"{os.getpid()}-{number}")
                while True:
                    try:
                        await ledger.record(event)
                    except BrokerError:
                        await asyncio.sleep(0.05)
                    else:
                        break

        await asyncio.gather(*(caller(first) for first in range(at_once)))
        return ledger.writer_id


if __name__ == "__main__":
    writer = uvloop.run(write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    sys.stdout.write(f"writer={writer}\n")
