"""The agent itself: resources kept side by side, a configuration that may change, and a clean end."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from valetkey.cli.agent.configuration import Plan, ResourcePlan
from valetkey.cli.agent.log import AgentLog
from valetkey.cli.agent.output_files import remove
from valetkey.cli.agent.readiness import Readiness
from valetkey.cli.agent.resource_keeper import ResourceKeeper
from valetkey.cli.agent.sources_and_proxies import Shared
from valetkey.cli.agent.thread_pool import in_thread, use_threads
from valetkey.errors import ValetKeyError

# How long a new configuration waits for proxies that it lacks: their ports are free at once, requests take longer.
_PORT_SECONDS = 0.5


class Agent:
    """Keeps what a plan says until it is stopped; `reload` brings another plan."""

    def __init__(self, plan: Plan, shared: Shared, log: AgentLog) -> None:
        self._plan = plan
        self._shared = shared
        self._log = log
        self._readiness = Readiness(plan.readiness_file, log)
        self._ending: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._keepers: dict[ResourcePlan, tuple[ResourceKeeper, asyncio.Task[None]]] = {}

    async def run(self, stopped: asyncio.Event, reload: asyncio.Event, read: Callable[[], Plan]) -> None:
        """Keeps everything until `stopped` is set. When `reload` is, the configuration is `read` again."""
        use_threads()
        self._begin(self._plan)
        try:
            while not stopped.is_set():
                waiting = [asyncio.ensure_future(event.wait()) for event in (stopped, reload)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in waiting:
                    each.cancel()
                if reload.is_set() and not stopped.is_set():
                    reload.clear()
                    await self._reload(read)
        finally:
            await self._end()

    def _begin(self, plan: Plan) -> None:
        for warning in plan.warnings:
            self._log.warning(warning)
        if self._following is None:
            self._following = asyncio.create_task(self._readiness.run())
        for resource in plan.resources:
            if resource not in self._keepers:
                keeper = ResourceKeeper(resource, self._shared, self._log, self._changed)
                self._keepers[resource] = keeper, asyncio.create_task(keeper.run())
        self._changed()

    def _changed(self) -> None:
        keepers = [keeper for keeper, _ in self._keepers.values()]
        ends = [keeper.ends for keeper in keepers if keeper.fresh and keeper.ends is not None]
        self._readiness.show(min(ends) if len(ends) == len(self._plan.resources) else None)

    async def _reload(self, read: Callable[[], Plan]) -> None:
        try:
            plan = await in_thread(read)
        except ValetKeyError as error:
            self._log.error("the configuration is refused, and that of before stays", cause=error.message)
            return
        old, self._plan = self._plan, plan
        for resource in plan.resources:
            self._shared.source(resource.scope)  # Before the last user of its stream goes.
        await self._stop([resource for resource in self._keepers if resource not in plan.resources])
        if plan.readiness_file != old.readiness_file:
            await self._end_readiness()
            self._readiness = Readiness(plan.readiness_file, self._log)
        written = {output.path for output in plan.outputs}
        if old.remove_on_exit:
            await self._remove(output.path for output in old.outputs if output.path not in written)
        ending = asyncio.create_task(self._shared.keep_only(plan.resources))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        await asyncio.wait([ending], timeout=_PORT_SECONDS)
        self._begin(plan)
        self._log.info("the configuration was read again", resources=len(plan.resources))

    async def _stop(self, resources: Iterable[ResourcePlan]) -> None:
        tasks = [self._keepers.pop(resource)[1] for resource in resources]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_readiness(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
            self._following = None
        await self._readiness.end()

    async def _end(self) -> None:
        await self._end_readiness()
        await self._stop(list(self._keepers))
        if self._plan.remove_on_exit:
            await self._remove(output.path for output in self._plan.outputs)
        self._log.info("ends")
        await asyncio.gather(self._shared.keep_only(()), *self._ending)

    async def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                await in_thread(remove, path)
            except ValetKeyError as error:
                self._log.error("an output stays", cause=error.message)


async def write_once(plan: Plan, shared: Shared, log: AgentLog) -> ValetKeyError | None:
    """Writes all outputs once. Returns the first error, after all resources were tried; the log has them all."""
    use_threads()
    for warning in plan.warnings:
        log.warning(warning)
    keepers = [ResourceKeeper(resource, shared, log, lambda: None) for resource in plan.resources]
    try:
        found = await asyncio.gather(*(keeper.once() for keeper in keepers))
    finally:
        await shared.keep_only(())
    errors = [error for failed in found for error in failed]
    for error in errors:
        told = {"reason": error.reason, "request_id": error.request_id}
        log.error("failed", cause=error.message, **{name: value for name, value in told.items() if value})
    return errors[0] if errors else None
