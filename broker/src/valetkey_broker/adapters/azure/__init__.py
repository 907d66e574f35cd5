"""Azure: Entra log-in, storage accounts, containers, user delegation keys and the SAS they sign."""

from valetkey_broker.adapters.azure.cloud import AzureCloud

__all__ = ["AzureCloud"]
