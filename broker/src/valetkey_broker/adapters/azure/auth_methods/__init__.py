"""How connectors of type `azure` log in and sign: one module per auth method, and the table of them."""

from collections.abc import Mapping

from valetkey_broker.adapters.azure.auth_method import AzureAuthMethod
from valetkey_broker.adapters.azure.auth_methods.service_principal import ServicePrincipal

AUTH_METHODS: Mapping[str, AzureAuthMethod] = {method.name: method for method in (ServicePrincipal(),)}
"""Every auth method by its name, which is the one in the API in lower case: `AUTH_METHOD_SERVICE_PRINCIPAL`."""

__all__ = ["AUTH_METHODS", "AzureAuthMethod"]
