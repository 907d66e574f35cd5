"""What a process works on that dies amid it."""

import asyncio
import contextlib
from collections.abc import Collection


async def died_amid(
    working: "asyncio.Future[object]", dead: asyncio.Event, before: "Collection[asyncio.Task[object]]"
) -> bool:
    """Waits until the work is through or its process `dead`, and ends every task that was not there `before`.

    Returns whether the process died. Raises what the work raised where it was through.
    """
    dying = asyncio.ensure_future(dead.wait())
    await asyncio.wait([working, dying], return_when=asyncio.FIRST_COMPLETED)
    died = not working.done()
    if not died:
        working.result()
    left = asyncio.all_tasks() - set(before)
    for task in left:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*left, return_exceptions=True)
    return died
