"""Whose key signs the tokens of a connector: what of that a rotation changes, and what it does not."""

from collections.abc import Mapping

from valetkey_broker.model import Connector
from valetkey_broker.ports import AuthMethod


def signer_of(connector: Connector, auth_methods: Mapping[str, AuthMethod]) -> str:
    """Returns what tells the signer of a connector's tokens from any other.

    Where Azure gives the key, it gives it to a principal: another secret of the same one changes nothing, and what was
    signed stays good when the old secret is withdrawn. Where the credential is the key, it is gone with it.
    """
    method = auth_methods.get(connector.auth_method)
    return connector.principal_way if method is not None and method.fetches_keys else connector.way_in
