"""Azure: auth methods, storage accounts, containers, signing keys and the SAS they sign."""

from valetkey_broker.adapters.azure.auth_methods import AUTH_METHODS
from valetkey_broker.adapters.azure.cloud import AzureCloud
from valetkey_broker.adapters.azure.credential_maker import AzureCredentialMaker
from valetkey_broker.adapters.azure.sdk_preload import preload_sdks

__all__ = ["AUTH_METHODS", "AzureCloud", "AzureCredentialMaker", "preload_sdks"]
