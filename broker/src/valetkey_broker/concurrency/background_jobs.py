"""Work that goes on for as long as the process serves: a mistake of ours must not end it in silence."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.observability.redaction import frames

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


async def keep_going(name: str, job: Callable[[], Awaitable[None]], pauses: Backoff | None = None) -> None:
    """Runs `job` until it returns or this is cancelled, and begins it anew after a pause wherever it fails.

    Nobody waits for such a job: one that ended by an error would be missed only when what it does is needed, such as
    the news that a key was revoked.
    """
    pauses = pauses or Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    while True:
        try:
            await job()
        except Exception as error:  # noqa: BLE001 (whatever it is, the job is needed)
            structlog.get_logger().error("a background job failed; it is begun anew", job=name, frames=_frames(error))
        else:
            return
        await asyncio.sleep(pauses.next())


def _frames(error: Exception) -> list[str]:
    # Of a group of tasks the first that failed says what went wrong.
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return frames(error)
