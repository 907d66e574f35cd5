"""An issuer that counts what it issues and refuses."""

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any

from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import CallInfo, InvalidFieldError, Lease
from valetkey_broker.observability.counters import Figures


def issuer_type(figures: Figures | None, registered: Container[str]) -> Callable[..., Issuer]:
    """Returns what makes an issuer of its parts: one that counts where there are `figures`, at no cost where not."""
    return Issuer if figures is None else partial(CountingIssuer, figures, registered)


class CountingIssuer(Issuer):
    """Counts each token, or why there is none, by its connector."""

    def __init__(self, figures: Figures, registered: Container[str], **parts: Any) -> None:
        """Counts names of connectors only where they are `registered`; `parts` are those of Issuer."""
        super().__init__(**parts)
        self._figures = figures
        self._registered = registered

    async def issue(self, call: CallInfo, wanted: TokenRequest) -> Lease:
        """Issues one token; see Issuer."""
        try:
            lease = await super().issue(call, wanted)
        except Exception as error:
            self._count(wanted, error)
            raise
        self._count(wanted, lease)
        return lease

    async def issue_many(self, call: CallInfo, wanted: Sequence[TokenRequest]) -> Sequence[Lease | Exception]:
        """Issues many tokens; see Issuer."""
        outcomes = await super().issue_many(call, wanted)
        for request, outcome in zip(wanted, outcomes, strict=True):
            self._count(request, outcome)
        return outcomes

    def _count(self, wanted: TokenRequest, outcome: Lease | Exception) -> None:
        if isinstance(outcome, Lease):
            self._figures.issued[outcome.connector] += 1
        elif isinstance(outcome, BrokerError):
            self._refused(wanted.connector or outcome.metadata.get("connector", ""), outcome.reason)
        elif isinstance(outcome, InvalidFieldError):
            self._refused(wanted.connector, Reason.INVALID_FIELD)

    def _refused(self, connector: str, reason: Reason) -> None:
        # What callers make up must not fill the memory.
        self._figures.refused[connector if connector in self._registered else "", reason.name] += 1
