"""What a use case gets to know of the call it serves."""

from broker.model.principal import Principal
from broker.model.value import call_value


@call_value
class CallInfo:
    """Who calls, and what the ledger shall say of it. `peer` is the peer's address without its port."""

    request_id: str
    method: str
    principal: Principal
    peer: str
