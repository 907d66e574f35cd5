"""What a worker tells when it is asked: its metrics, and whether it serves."""

import asyncio

from valetkey_broker.metrics.readings import Readings, Sources
from valetkey_broker.metrics.worker_channel import Answerer, Question
from valetkey_broker.observability.counters import Histogram

_TRIED_EVERY_SECONDS = 0.25


class WorkerMetrics:
    """Answers from the event loop that serves; only the text is written in a thread."""

    def __init__(self, answerer: Answerer, sources: Sources) -> None:
        # Only who tells metrics loads the library for it.
        from valetkey_broker.metrics.exposition import Exposition  # noqa: PLC0415

        self._answerer = answerer
        self._sources = sources
        self._readings = Readings(sources)
        self._exposition = Exposition()
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Answers until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._answerer.run(self.answer), name="metrics-answers")
            group.create_task(_time(self._sources.lag), name="event-loop-lag")

    async def answer(self, question: Question) -> bytes:
        """Returns the answer to a question."""
        if question is Question.SERVING:
            return b"1" if self._sources.server.serves else b"0"
        async with self._one_at_a_time:
            await self._sources.endings.refresh()
            # Files may be on a disk that hangs; only who waits for this scrape should.
            await asyncio.to_thread(self._sources.server.reread)
            return await asyncio.to_thread(self._exposition.text, self._readings.now())


async def _time(lag: Histogram) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _TRIED_EVERY_SECONDS
        await asyncio.sleep(_TRIED_EVERY_SECONDS)
        lag.observe(max(0.0, loop.time() - due))
