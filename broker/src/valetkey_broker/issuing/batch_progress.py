"""How far a batch of requests has come: what was decided of each, and what was signed by it."""

from collections.abc import Callable, Iterable, Sequence

from valetkey_broker.issuing.decider import Decision
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import Event, Lease

Issued = tuple[Lease, Event]
Sign = Callable[[TokenRequest, Decision, int], Sequence[Issued]]


class Batch:
    """Requests by their place. Those that are one and the same object are decided once, and signed each by itself.

    `holds` tells whether what was decided still does. What was signed is kept as long as a later decision makes the
    same token: then a change that has nothing to do with it costs a decision, and no signature.
    """

    def __init__(self, wanted: Sequence[TokenRequest], holds: Callable[[Decision], bool]) -> None:
        self._wanted = wanted
        self._holds = holds
        self._decided: dict[int, Decision | Exception] = {}
        self._signed: dict[int, tuple[Decision, Issued | Exception]] = {}

    @property
    def places(self) -> range:
        """All of them."""
        return range(len(self._wanted))

    def stale(self, places: Iterable[int]) -> Sequence[TokenRequest]:
        """Returns the different requests at `places` of which nothing is decided that still holds."""
        different = {id(request): request for request in map(self._wanted.__getitem__, places)}
        return [request for key, request in different.items() if not self._stands(key)]

    def standing(self, places: Iterable[int]) -> list[int]:
        """Returns those of `places` whose decision still holds; a refusal does."""
        return [place for place in places if self._stands(id(self._wanted[place]))]

    def decide(self, request: TokenRequest, decision: Decision | Exception) -> None:
        """Takes what was decided of `request`."""
        self._decided[id(request)] = decision

    def unsigned(self, places: Iterable[int]) -> list[int]:
        """Returns those of `places` that may have a token, and for which nothing is signed by that decision."""
        return [place for place in places if self._is_unsigned(place)]

    def sign(self, places: Iterable[int], sign: Sign) -> None:
        """Signs for each of `places`, by what was decided of it; nothing for a refusal."""
        alike: dict[int, list[int]] = {}
        for place in places:
            alike.setdefault(id(self._wanted[place]), []).append(place)
        for key, theirs in alike.items():
            decision = self._decided[key]
            if isinstance(decision, Decision):
                try:
                    signed: Sequence[Issued | Exception] = sign(self._wanted[theirs[0]], decision, len(theirs))
                except Exception as error:  # noqa: BLE001 (it goes to who asked; it must not hide the others)
                    signed = [error] * len(theirs)
                for place, outcome in zip(theirs, signed, strict=True):
                    self._signed[place] = decision, outcome

    def outcome(self, place: int) -> Issued | Exception:
        """Returns what there is for a place that was decided and signed."""
        decision = self._decided[id(self._wanted[place])]
        return decision if isinstance(decision, Exception) else self._signed[place][1]

    def _stands(self, key: int) -> bool:
        decision = self._decided.get(key)
        return isinstance(decision, Exception) or (decision is not None and self._holds(decision))

    def _is_unsigned(self, place: int) -> bool:
        decision, signed = self._decided[id(self._wanted[place])], self._signed.get(place)
        if isinstance(decision, Exception):
            return False
        return signed is None or not (decision is signed[0] or decision.makes_the_same(signed[0]))
