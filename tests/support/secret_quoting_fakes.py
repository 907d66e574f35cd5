"""A cloud and a store that fail as libraries do: with exceptions that quote the secrets they were given."""

from support.fake_cloud import FakeCloud
from support.fake_store import FakeStateStore
from support.leaks import ALL_AT_ONCE


class Talkative(FakeCloud):
    """Fails, when told to, with exceptions of libraries whose text holds all the secrets."""

    breaks: str = ""

    def _raise_planned(self, call: str) -> None:
        if self.breaks == call:
            raise RuntimeError(f"request failed: {ALL_AT_ONCE}") from ValueError(ALL_AT_ONCE)
        super()._raise_planned(call)


class TalkativeStore(FakeStateStore):
    """The same for the store."""

    breaks: str = ""

    async def _enter(self, method: str, path: str | None = None) -> None:
        if self.breaks == method:
            raise OSError(f"PUT {path} failed: {ALL_AT_ONCE}") from ValueError(ALL_AT_ONCE)
        await super()._enter(method, path)
