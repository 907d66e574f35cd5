"""What `make delays` does to fakes."""

import asyncio
from collections.abc import Sequence

from support.random_delays import Delays


class Fake:
    """Notes whom it served, in the order of their turns."""

    def __init__(self) -> None:
        self.served: list[int] = []

    async def serve(self, number: int) -> int:
        self.served.append(number)
        return 2 * number


async def _order(seed: str) -> Sequence[int]:
    class Late(Fake):
        serve = Fake.serve

    delays = Delays()
    delays.delay(Late, before=True)
    delays.begin(seed)
    fake = Late()
    assert await asyncio.gather(*(fake.serve(number) for number in range(30))) == [2 * each for each in range(30)]
    return fake.served


async def test_answers_come_in_another_order_for_each_seed() -> None:
    """Protects the proof that order does not matter: without it, no two tasks would meet but as they always do."""
    orders = {tuple(await _order(seed)) for seed in "abcd"}
    assert (len(orders), {tuple(sorted(order)) for order in orders}) == (4, {tuple(range(30))})
