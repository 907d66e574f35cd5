"""Containers of Azure Blob Storage."""

from valetkey_broker.adapters.azure import sas
from valetkey_broker.adapters.azure.blob_storage import BlobStorage
from valetkey_broker.adapters.azure.resource_type import AzureResourceType
from valetkey_broker.model import BLOB_CONTAINER

BLOB_CONTAINERS = AzureResourceType(BLOB_CONTAINER, BlobStorage, sas.sign)
