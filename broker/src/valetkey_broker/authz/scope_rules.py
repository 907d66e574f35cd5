"""What no token can be cut to, whoever asks: the rules of Azure, looked at for issuing and for explaining alike."""

from valetkey_broker.errors import (
    directory_unsupported,
    list_of_blob,
    permissions_of_hierarchy,
    permissions_of_paths,
)
from valetkey_broker.model import OF_HIERARCHY, Permission, PermissionSet, ResourceId


def hangs_on_account(resource: ResourceId, permissions: PermissionSet) -> bool:
    """Tells whether only accounts with hierarchical namespace can give that."""
    return resource.directory or permissions.needs_hierarchy


def check_scope(
    resource: ResourceId, permissions: PermissionSet, account: str = "", *, hierarchical: bool | None = None
) -> None:
    """Raises SCOPE_UNSUPPORTED for what cannot be signed, on any account or on this one.

    `hierarchical` tells whether `account` has a hierarchical namespace; None is for nobody knows.
    """
    special = [permission for permission in OF_HIERARCHY if permission in permissions.members]
    if resource.prefix and not resource.directory and Permission.LIST in permissions.members:
        raise list_of_blob(resource)
    if special and not resource.prefix:
        raise permissions_of_paths(resource, special)
    if hierarchical is not False:
        return
    if resource.directory:
        raise directory_unsupported(resource, account)
    if special:
        raise permissions_of_hierarchy(resource, special, account)
