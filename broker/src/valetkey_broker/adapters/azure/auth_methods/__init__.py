"""How connectors of type `azure` log in and sign: one module per auth method, and the table of them."""

from collections.abc import Mapping, Sequence

from valetkey_broker.adapters.azure.auth_method import AzureAuthMethod
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKeyMethod
from valetkey_broker.adapters.azure.auth_methods.connection_string import ConnectionStringMethod
from valetkey_broker.adapters.azure.auth_methods.implicit import Implicit
from valetkey_broker.adapters.azure.auth_methods.service_principal import ServicePrincipal

_METHODS: Sequence[AzureAuthMethod] = (ServicePrincipal(), AccountKeyMethod(), ConnectionStringMethod(), Implicit())

AUTH_METHODS: Mapping[str, AzureAuthMethod] = {method.name: method for method in _METHODS}
"""Every auth method by its name, which is the one in the API in lower case: `AUTH_METHOD_SERVICE_PRINCIPAL`."""

__all__ = ["AUTH_METHODS", "AzureAuthMethod"]
