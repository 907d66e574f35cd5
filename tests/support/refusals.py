"""What a refused caller is told, checked for what every refusal must hold."""

from collections.abc import Awaitable
from typing import Any

import pytest

from valetkey_broker.errors import BrokerError


async def refusal(work: Awaitable[Any]) -> BrokerError:
    """Awaits what has to be refused and returns the error."""
    with pytest.raises(BrokerError) as caught:
        await work
    return caught.value


async def problem(work: Awaitable[Any]) -> tuple[str, str]:
    """Returns reason and problem of what has to be refused."""
    error = await refusal(work)
    return error.reason.name, error.metadata.get("problem", "")
