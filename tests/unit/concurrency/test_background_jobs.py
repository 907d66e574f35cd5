"""Jobs that go on for as long as the process serves."""

import asyncio

from structlog.testing import capture_logs

from valetkey_broker.concurrency.background_jobs import keep_going
from valetkey_broker.concurrency.backoff import Backoff

_PLANTED = "PLANTED-in-an-exception"


async def test_a_job_that_fails_is_begun_anew_and_told_of() -> None:
    """News of revoked keys go on coming after a mistake of ours; the text of the error stays inside."""
    runs = 0

    async def part() -> None:
        raise RuntimeError(_PLANTED)

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            async with asyncio.TaskGroup() as group:
                group.create_task(part())

    with capture_logs() as logs:
        await keep_going("state-sync", job, Backoff(0.0, 0.0))
    assert runs == 2
    (line,) = logs
    assert (line["log_level"], line["job"]) == ("error", "state-sync")
    assert line["frames"][0] == "builtins.RuntimeError"
    assert any(frame.endswith(" part") for frame in line["frames"])
    assert _PLANTED not in str(logs)


async def test_a_job_ends_with_the_process() -> None:
    """Cancelling ends it, and does not begin it anew."""
    begun = asyncio.Event()
    runs = 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_going("state-sync", job))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert runs == 1
