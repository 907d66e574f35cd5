"""Planned failures and counted requests, by step."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

Step = Literal[
    "token", "arm", "application", "add-password", "remove-password", "list-keys", "regenerate-key", "revoke-keys"
]


@dataclass(slots=True)
class _Plan:
    """`status` 0 cuts the connection, None lets the request through after `delay` seconds.

    With `done` the request is served first: what is lost is the answer.
    """

    status: int | None
    body: str | None = None
    retry_after: float | None = None
    delay: float = 0.0
    times: int | None = None
    done: bool = False


class Faults:
    """What is to go wrong, and how often each step was asked."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._plans: dict[Step, _Plan] = {}

    def plan(
        self,
        step: Step,
        status: int | None,
        *,
        retry_after: float | None = None,
        body: str | None = None,
        times: int | None = None,
        delay: float = 0.0,
        done: bool = False,
    ) -> None:
        """Plans a failure for the next `times` requests of `step`, or for all; with `done`, once they were served."""
        self._plans[step] = _Plan(status, body, retry_after, delay, times, done)

    def clear(self) -> None:
        """Ends all failures."""
        self._plans.clear()

    async def meet(self, step: Step, request: web.Request) -> web.StreamResponse | tuple[int, dict[str, str]] | None:
        """Counts the request and lets the planned failure happen.

        Returns None where nothing is planned, the answer where its body was given, otherwise status and
        headers, for the caller to answer in the shape of its service.
        """
        self.requests[step] += 1
        plan = self._plans.get(step)
        if plan is None or plan.done:
            return None
        self._count(step, plan)
        await asyncio.sleep(plan.delay)
        if plan.status is None:
            return None
        if plan.status == 0:
            _cut(request)
            return web.Response()
        headers = {} if plan.retry_after is None else {"Retry-After": f"{plan.retry_after:g}"}
        if plan.body is None:
            return plan.status, headers
        content_type = "application/json" if plan.body[:1] in ("{", "[") else "text/html"
        return web.Response(status=plan.status, text=plan.body, content_type=content_type, headers=headers)

    async def served(self, step: Step, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """Returns the answer to what was done, or loses it where that is planned."""
        plan = self._plans.get(step)
        if plan is not None and plan.done:
            self._count(step, plan)
            await asyncio.sleep(plan.delay)
            _cut(request)
        return answer

    def _count(self, step: Step, plan: _Plan) -> None:
        if plan.times is not None:
            plan.times -= 1
            if plan.times <= 0:
                del self._plans[step]


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
