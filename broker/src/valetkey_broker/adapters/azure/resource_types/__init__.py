"""How Azure gives what connectors of type `azure` serve: one module per resource type, and the table of them."""

from collections.abc import Mapping, Sequence

from valetkey_broker.adapters.azure.resource_type import AzureResourceType
from valetkey_broker.adapters.azure.resource_types.blob_container import BLOB_CONTAINERS

_TYPES: Sequence[AzureResourceType] = (BLOB_CONTAINERS,)

AZURE_RESOURCE_TYPES: Mapping[str, AzureResourceType] = {each.name: each for each in _TYPES}
"""Every resource type by its name; `model.RESOURCE_TYPES` has the same, and says how they are named."""

__all__ = ["AZURE_RESOURCE_TYPES", "AzureResourceType"]
