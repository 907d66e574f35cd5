"""What health says of the ledger."""

import asyncio

from valetkey_broker.ports import Ledger
from valetkey_broker.rpc.server import RpcServer

_CHECK_SECONDS = 1.0


async def follow_ledger(ledger: Ledger, server: RpcServer) -> None:
    """Lets health say within a second or so that the ledger cannot be written, and that it can again."""
    known = True
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        if ledger.healthy() != known:
            known = not known
            server.set_recording(known)
