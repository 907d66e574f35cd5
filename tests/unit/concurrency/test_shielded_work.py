"""ShieldedWork: changes outlive their callers."""

import asyncio

from structlog.testing import capture_logs

from valetkey_broker.concurrency.shielded_work import ShieldedWork
from valetkey_broker.errors import BrokerError, Reason

_AWAY = BrokerError(Reason.VAULT_UNAVAILABLE, "away PLANTED", {"cause": "timeout"})


async def test_a_failure_after_the_caller_has_gone_is_logged() -> None:
    """Nobody is left to be told; the log is, by the reason alone, and closing waits for it."""
    background = ShieldedWork()

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
