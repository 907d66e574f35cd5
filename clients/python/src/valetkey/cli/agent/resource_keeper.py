"""Keeps what there is for one resource: whenever its token is another one, all outputs are written anew."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime

from valetkey.cli.agent.configuration import OutputPlan, ResourcePlan
from valetkey.cli.agent.log import AgentLog
from valetkey.cli.agent.output_files import write_atomically
from valetkey.cli.agent.output_texts import content
from valetkey.cli.agent.renewal_command import RenewalCommand
from valetkey.cli.agent.sources_and_proxies import Shared
from valetkey.cli.agent.thread_pool import in_thread
from valetkey.cli.tool_access import ToolAccess
from valetkey.errors import PermissionDeniedError, UnauthenticatedError, ValetKeyError, WatchEndedError
from valetkey.times import utc
from valetkey.values import Token

# How often it is looked whether there is another token: a look asks nobody.
_LOOK_SECONDS = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_PAUSE_OF_REFUSED = 1.0, 5.0, 30.0
_SAID_AGAIN_SECONDS = 60.0


class ResourceKeeper:
    """One resource. `fresh` tells whether all of it is, `ends` when its token does; `changed` is called on any news."""

    def __init__(self, plan: ResourcePlan, shared: Shared, log: AgentLog, changed: Callable[[], None]) -> None:
        self.plan = plan
        self.fresh = False
        self.ends: datetime | None = None
        self._shared = shared
        self._source = shared.source(plan.scope)
        self._log = log
        self._changed = changed
        self._written: dict[OutputPlan, object] = {}
        self._command = None if plan.command is None else RenewalCommand(plan.command, plan.name, log)
        self._again = True
        self._said: dict[str, tuple[str, float]] = {}

    async def run(self) -> None:
        """Keeps it until it is cancelled. Nothing that fails ends it."""
        async with asyncio.TaskGroup() as group:
            if self._command is not None:
                group.create_task(self._command.run())
            group.create_task(self._keep())

    async def once(self) -> list[ValetKeyError]:
        """Writes all outputs once; returns what failed, after everything was tried."""
        self._again = False
        try:
            return await self._refresh(await self._source.current())
        except ValetKeyError as error:
            return [error]

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            failed = await self._failure()
            if not failed:
                pause = _FIRST_PAUSE
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, max(_pause_limit(error) for error in failed))

    async def _failure(self) -> list[ValetKeyError]:
        """Brings everything up to date; returns what keeps it from being so."""
        token = self._source.peek()
        if token is None:
            self._set(fresh=False)
            try:
                token = await self._source.current()
            except ValetKeyError as error:
                self._say("token", "no token; trying again", error)
                return [error]
        self._recovered("token", "there is a token again")
        errors = await self._refresh(token)
        self._set(fresh=not errors, ends=token.expire_time)
        return errors

    async def _refresh(self, token: Token) -> list[ValetKeyError]:
        """Writes what is not written with this token, and serves the proxy; returns what failed."""
        errors: list[ValetKeyError] = []
        direct = [output for output in self.plan.outputs if not output.through_proxy]
        written = [await self._write(output, token, None, errors) for output in direct]
        # With --once there is no output that leads to a proxy, and nobody who would use one.
        if self.plan.port is not None and self._again:
            try:
                through = self._shared.served(self.plan) or await self._serve()
            except ValetKeyError as error:
                self._say("proxy", "the proxy does not run; trying again", error)
                errors.append(error)
            else:
                self._recovered("proxy", "the proxy runs again")
                rest = [output for output in self.plan.outputs if output.through_proxy]
                written += [await self._write(output, token, through, errors) for output in rest]
        if any(written):
            self._log.info("written", resource=self.plan.name, files=sum(written), expires=utc(token.expire_time))
            if self._command is not None and not errors:
                self._command.want()
        return errors

    async def _serve(self) -> ToolAccess:
        through = await self._shared.serve(self.plan)
        self._log.info("the proxy listens", resource=self.plan.name, endpoint=through.endpoint)
        return through

    async def _write(
        self, output: OutputPlan, token: Token, through: ToolAccess | None, errors: list[ValetKeyError]
    ) -> bool:
        """Writes an output unless it stands there already; tells whether it did. A failure goes to `errors`."""
        state = token.lease_id if through is None else through.container_url
        if self._written.get(output) == state and await in_thread(os.path.lexists, output.path):
            return False
        text = content(output.form, output.template, token, through)
        try:
            await in_thread(write_atomically, output.path, text, mode=output.mode, gid=output.gid)
        except ValetKeyError as error:
            self._written.pop(output, None)
            self._set(fresh=False)  # Before anything else is waited for.
            self._say(str(output.path), "an output is not fresh; trying again", error)
            errors.append(error)
            return False
        self._written[output] = state
        self._recovered(str(output.path), f"{output.path}: can be written again")
        return True

    def _set(self, *, fresh: bool, ends: datetime | None = None) -> None:
        if (self.fresh, self.ends) != (fresh, ends):
            self.fresh, self.ends = fresh, ends
            self._changed()

    def _say(self, what: str, event: str, error: ValetKeyError) -> None:
        """Logs a failure that is tried again: when it is another one, and once a minute."""
        last, when = self._said.get(what, ("", 0.0))
        if self._again and (last != error.message or time.monotonic() > when + _SAID_AGAIN_SECONDS):
            self._said[what] = error.message, time.monotonic()
            more = {"reason": error.reason} if error.reason else {}
            self._log.error(event, resource=self.plan.name, cause=error.message, **more)

    def _recovered(self, what: str, event: str) -> None:
        if self._said.pop(what, None):
            self._log.info(event, resource=self.plan.name)


def _pause_limit(error: ValetKeyError) -> float:
    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError) or (
        isinstance(error, WatchEndedError) and error.final
    )
    return _LONGEST_PAUSE_OF_REFUSED if refused else _LONGEST_PAUSE
