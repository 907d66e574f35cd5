"""What a use case gets to know of the call it serves."""

from valetkey_broker.model.principal import Principal
from valetkey_broker.model.statically_frozen import statically_frozen


@statically_frozen
class CallInfo:
    """Who calls, and what the ledger shall say of it. `peer` is the peer's address without its port."""

    request_id: str
    method: str
    principal: Principal
    peer: str
