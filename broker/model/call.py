"""What a use case gets to know of the call it serves."""

from dataclasses import dataclass

from broker.model.principal import Principal


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Who calls, and what the ledger shall say of it. `peer` is the peer's address without its port."""

    request_id: str
    method: str
    principal: Principal
    peer: str
