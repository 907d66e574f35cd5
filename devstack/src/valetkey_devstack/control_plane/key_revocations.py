"""Orders to revoke user delegation keys, and a storage service that acts on them, at once or late as Azure may.

Source: https://learn.microsoft.com/rest/api/storagerp/storage-accounts/revoke-user-delegation-keys
"""

import time
from collections.abc import Callable

from valetkey_devstack.control_plane.arm import ArmError

_ACTION = "Microsoft.Storage/storageAccounts/revokeUserDelegationKeys/action"


class KeyRevocations:
    """What ARM was told. `orders` has the accounts, in order; with `forbidden` the principal may not give any.

    `apply` is called with the account, the time (Unix seconds) before which keys have to begin to be dead, and the time
    from which storage refuses them, which is `delay` seconds later.
    """

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.forbidden = False
        self.delay = 0.0
        self.apply: Callable[[str, float, float], None] = lambda _account, _before, _since: None

    def order(self, account: str) -> None:
        """Takes the order for an account. Raises ArmError where it may not be given."""
        if self.forbidden:
            text = f"The client does not have authorization to perform action '{_ACTION}' over scope '{account}'."
            raise ArmError(403, "AuthorizationFailed", text)
        self.orders.append(account)
        now = time.time()
        self.apply(account, now, now + self.delay)
