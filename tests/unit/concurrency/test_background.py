"""BackgroundWork: changes outlive their callers, and chores are tried again in turn."""

import asyncio

from structlog.testing import capture_logs

from valetkey_broker.concurrency.background import BackgroundWork
from valetkey_broker.errors import BrokerError, Reason

_AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "away PLANTED", {"cause": "timeout"})


async def test_a_failure_after_the_caller_has_gone_is_logged() -> None:
    """Nobody is left to be told; the log is, by the reason alone, and closing waits for it."""
    background = BackgroundWork()

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise _AWAY

    caller = asyncio.create_task(background.whole(fail()))
    await asyncio.sleep(0)
    caller.cancel()
    with capture_logs() as logs:
        await asyncio.gather(caller, return_exceptions=True)
        await background.close()
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("a change failed after its caller had gone", "VAULT_UNAVAILABLE")
    ]
    assert "PLANTED" not in str(logs)


async def test_chores_that_fail_do_not_keep_the_others_waiting() -> None:
    """Each round ends at the first failure, so that an outage costs one call, and the next begins with another."""
    background, done = BackgroundWork(), []

    async def fail() -> None:
        done.append("fail")
        raise _AWAY

    async def work() -> None:
        done.append("work")

    background.later("fail", fail, _AWAY)
    background.later("work", work, _AWAY)
    await background.catch_up()
    assert done == ["fail"]
    await background.catch_up()
    assert done == ["fail", "work", "fail"]
    with capture_logs() as logs:
        await background.close()
    assert [(line["event"], line["chores"]) for line in logs] == [("left undone", ["fail"])]
