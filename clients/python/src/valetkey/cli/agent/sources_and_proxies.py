"""What the resources of one agent share: sources of tokens, one for each scope, and proxies."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from ssl import SSLContext

from valetkey.async_token_source import AsyncTokenSource
from valetkey.cli.agent.configuration import ResourcePlan, Scope
from valetkey.cli.proxy_options import proxy_access, served_proxy
from valetkey.cli.tool_access import ToolAccess

_Proxy = tuple[Scope, int]


class Shared:
    """Makes sources and proxies when they are first asked for, and ends those that nobody asks for any more."""

    def __init__(self, make_source: Callable[[Scope], AsyncTokenSource], trust: Callable[[], SSLContext]) -> None:
        self._make_source = make_source
        self._trust = trust
        self._sources: dict[Scope, AsyncTokenSource] = {}
        self._proxies: dict[_Proxy, tuple[ToolAccess, AsyncExitStack]] = {}

    def source(self, scope: Scope) -> AsyncTokenSource:
        """Returns the source of a scope, one for all who want the same."""
        if scope not in self._sources:
            self._sources[scope] = self._make_source(scope)
        return self._sources[scope]

    def served(self, plan: ResourcePlan) -> ToolAccess | None:
        """Returns the way through the proxy of a resource, if that runs."""
        found = self._proxies.get((plan.scope, plan.port or 0))
        return None if found is None else found[0]

    async def serve(self, plan: ResourcePlan) -> ToolAccess:
        """Returns the way through the proxy of a resource, which runs from now on.

        Raises a ValetKeyError where it cannot: there is no token, its port is taken, or storage is not trusted.
        """
        key = (plan.scope, plan.port or 0)
        if key not in self._proxies:
            async with AsyncExitStack() as stack:
                running = served_proxy(
                    self.source(plan.scope), self._trust(), port=plan.port or 0, port_option="resource.proxy.port"
                )
                proxy = await stack.enter_async_context(running)
                self._proxies[key] = proxy_access(proxy, plan.scope.permissions), stack.pop_all()
        return self._proxies[key][0]

    async def keep_only(self, plans: Collection[ResourcePlan]) -> None:
        """Ends what none of these needs; requests under way in proxies may end."""
        proxies = {(plan.scope, plan.port) for plan in plans if plan.port is not None}
        gone = [self._proxies.pop(key)[1] for key in list(self._proxies) if key not in proxies]
        await asyncio.gather(*(stack.aclose() for stack in gone))
        scopes = {plan.scope for plan in plans}
        sources = [self._sources.pop(scope) for scope in list(self._sources) if scope not in scopes]
        await asyncio.gather(*(source.close() for source in sources))
