"""What revoking keys needs of a cloud."""

from typing import Protocol

from valetkey_broker.model import Connector, Credential


class KeyRevoker(Protocol):
    """Ends the keys that tokens are signed with."""

    async def revoke_delegation_keys(self, connector: Connector, credential: Credential, account: str) -> None:
        """Has the cloud revoke every user delegation key of `account`, whoever fetched it; it may act on it later.

        Keys that are fetched afterwards and begin no earlier are good. Raises what the methods of ports.Cloud raise.
        """
        ...
