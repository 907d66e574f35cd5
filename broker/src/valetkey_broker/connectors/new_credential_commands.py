"""The command that gives a connector a new credential."""

from valetkey_broker.model import Connector
from valetkey_broker.ports import AuthMethod

# With these Entra speaks of a certificate. Source:
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_OF_CERTIFICATES = frozenset({"AADSTS700027", "AADSTS1000502", "AADSTS700024"})


def new_credential_command(
    connector: Connector, method: AuthMethod, azure_code: str = "", *, certificate: bool = False
) -> str:
    """Returns the command, with a placeholder for the new secret; empty where the connector has no secret to replace.

    `azure_code` is what Entra said of the old one; `certificate` tells that it is one.
    """
    secrets = [each.name for each in method.fields if each.secret]
    if not secrets:
        return ""
    of_certificate = certificate or azure_code in _OF_CERTIFICATES
    name = next((each for each in secrets if each.endswith("certificate") and of_certificate), secrets[0])
    if connector.secret:
        return secret_command(connector.secret, name)
    return f"valetkey service-connector rotate {connector.name} --{name.replace('_', '-')} @FILE"


def secret_command(secret: str, field: str) -> str:
    """Returns the command that gives a named secret a new value of one field."""
    return f"valetkey secret rotate {secret} --{field.replace('_', '-')} @FILE"
