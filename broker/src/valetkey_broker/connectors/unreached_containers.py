"""Which containers of a grant none of its connectors reaches now: a typing error, or one that is still to be made.

For warnings only. A grant for containers that come later is a good one, and nothing is refused for what is found here.
"""

import asyncio
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import structlog

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Connector, Container, ContainerPattern, ResourceId
from valetkey_broker.observability.redaction import frames
from valetkey_broker.ports import Clock

# So long whoever stores a grant waits for the cloud; what it has not said by then is not known.
_PATIENCE_SECONDS = 2.0
# So long nobody waits again after that: many grants are stored at once, and the cloud may be away.
_NO_WAIT_SECONDS = 30.0
# A container that was made a moment ago is there: before something is called missing, what is older is asked again.
_LATELY_SECONDS = 5.0
# Names are compared with so many others at most, for each comparison costs some microseconds.
_MOST_COMPARED = 1_000
_LENGTHS_APART = 2


class UnreachedContainers:
    """Looks for the containers of grants in what connectors reach: in memory first, then in the cloud."""

    def __init__(
        self,
        known: Callable[[Connector, str], Sequence[Container]],
        reach: ReachCache,
        clock: Clock,
        fresh_seconds: float,
    ) -> None:
        """`known` gives a connector's containers of a name as far as the broker's memory has them.

        `reach` is for nothing else than this: what is looked at here has no part in which tokens are given, nor do its
        errors. `fresh_seconds` is how long a listing is believed where it has what is looked for.
        """
        self._known = known
        self._reach = reach
        self._clock = clock
        self._fresh = fresh_seconds
        self._waits_from = float("-inf")
        self._log = structlog.get_logger()

    async def of(
        self, connectors: Sequence[Connector], patterns: Sequence[ContainerPattern]
    ) -> Sequence[tuple[ContainerPattern, str]]:
        """Returns the patterns that match nothing which one of `connectors` reaches, and what may have been meant.

        That is the key of a container with nearly the same name, empty where there is none. Returns none where it is
        not known what a connector reaches: one that fails, or does not answer soon, may reach all of them. Of system
        containers, which listings leave out, nothing is said.
        """
        asked = [pattern for pattern in patterns if "$" not in pattern.text]
        own: Sequence[str] = [connector.resource.key for connector in connectors if connector.resource is not None]
        left: Sequence[ContainerPattern] = await _unmatched(asked, own)
        several = [connector for connector in connectors if connector.resource is None]
        left = [pattern for pattern in left if not any(self._is_known(each, pattern) for each in several)]
        if left and several:
            try:
                left, own = await self._looked_for(several, left)
            except (BrokerError, TimeoutError):
                return ()
            except Exception as error:  # noqa: BLE001 (the grant is stored: no warning of it may fail the call)
                self._log.error("a grant's containers could not be looked for", frames=frames(error))
                return ()
        return [(pattern, _near(pattern, own)) for pattern in left]

    def _is_known(self, connector: Connector, pattern: ContainerPattern) -> bool:
        if not pattern.exact:
            return False
        wanted = ResourceId.parse(pattern.text, "containers")
        serves = wanted.type in connector.resource_types
        return serves and bool(self._known(connector.serving(wanted.type), wanted.container))

    async def _looked_for(
        self, connectors: Sequence[Connector], patterns: Sequence[ContainerPattern]
    ) -> tuple[Sequence[ContainerPattern], Sequence[str]]:
        """Returns the patterns that match nothing, and all that there is. Raises where that cannot be told soon."""
        if self._clock() < self._waits_from:
            raise TimeoutError
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for max_age in (self._fresh, _LATELY_SECONDS):
                    keys = [key for connector in connectors for key in await self._keys(connector, max_age)]
                    patterns = await _unmatched(patterns, keys)
                    if not patterns:
                        break
        except TimeoutError:
            self._waits_from = self._clock() + _NO_WAIT_SECONDS
            raise
        return patterns, keys

    async def _keys(self, connector: Connector, max_age: float) -> Sequence[str]:
        """Returns the keys of what a connector reaches. Raises BrokerError where some of that could not be listed."""
        keys: list[str] = []
        for each in connector.by_type():
            reach = await self._reach.reach(each, max_age=max_age)
            for failed in reach.errors:
                raise failed.error
            async for some in slices(reach.containers):
                keys += [container.key for container in some]
        return keys


async def _unmatched(patterns: Sequence[ContainerPattern], keys: Sequence[str]) -> list[ContainerPattern]:
    exact = {pattern.text: pattern for pattern in patterns if pattern.exact}
    open_ = [pattern for pattern in patterns if not pattern.exact]
    async for some in slices(keys):
        for key in some:
            exact.pop(key, None)
            if open_:
                open_ = [pattern for pattern in open_ if not pattern.matches(key)]
        if not (exact or open_):
            break
    return [pattern for pattern in patterns if pattern.text in exact or pattern in open_]


def _near(pattern: ContainerPattern, keys: Sequence[str]) -> str:
    if not pattern.exact:
        return ""
    length = len(pattern.text)
    alike = [key for key in keys if abs(len(key) - length) <= _LENGTHS_APART]
    found = get_close_matches(pattern.text, alike[:_MOST_COMPARED], 1, 0.8)
    return found[0] if found else ""
