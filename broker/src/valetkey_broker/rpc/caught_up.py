"""Has memory catch up before the work of a call begins: it knows of what was done before, by whatever replica."""

from collections.abc import Awaitable, Callable
from typing import Any

from valetkey_broker.errors import identity_revoked
from valetkey_broker.model import Principal, Standing
from valetkey_broker.rpc.current_call import current_call
from valetkey_broker.state.catching_up import CatchingUp

Behavior = Callable[[Any, Any], Awaitable[Any]]


def caught_up(behavior: Behavior, catching_up: CatchingUp, standing: Callable[[Principal], Standing]) -> Behavior:
    """Returns `behavior` with that before it. `standing` tells whether a caller could authenticate again now."""

    async def work(request: Any, context: Any) -> Any:
        principal = current_call.get().principal
        # Those with a role are few, and do one thing after another.
        has_role = principal is not None and bool(principal.roles)
        await (catching_up.now() if has_role else catching_up.in_bounds())
        # The caller's own key may be among the news.
        if principal is not None and standing(principal) is Standing.ENDED:
            raise identity_revoked()
        return await behavior(request, context)

    return work
