"""Names of things and the rules they follow."""

import re

from valetkey_broker.model.errors import InvalidFieldError, shown

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftresources
_RESOURCE_GROUP = re.compile(r"[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]")


def check_name(field: str, value: str) -> str:
    """Returns `value` if it can name a connector or a key: 1 to 63 of a-z, 0-9 and inner hyphens."""
    if not _NAME.fullmatch(value):
        raise InvalidFieldError(
            field, f"{shown(value)} is not a name", "1 to 63 lower-case letters, digits and inner hyphens"
        )
    return value


def check_secret_name(field: str, value: str) -> str:
    """Returns `value` if it can name a secret: as other names, with inner underscores besides, as in `az_secret`."""
    if not _SECRET_NAME.fullmatch(value):
        raise InvalidFieldError(
            field,
            f"{shown(value)} is not the name of a secret",
            "1 to 63 lower-case letters, digits, inner hyphens and underscores",
        )
    return value


def check_account(field: str, value: str) -> str:
    """Returns `value` if it can name a storage account: 3 to 24 of a-z and 0-9. A host or URL never passes."""
    if not _ACCOUNT.fullmatch(value):
        raise InvalidFieldError(
            field, f"{shown(value)} is not a storage account name", "3 to 24 lower-case letters and digits"
        )
    return value


def check_uuid(field: str, value: str) -> str:
    """Returns `value` in lower case if it is a UUID with hyphens."""
    lowered = value.lower()
    if not _UUID.fullmatch(lowered):
        problem = f"{shown(value)} is not a UUID" if value else "is not given"
        raise InvalidFieldError(field, problem, "a UUID such as 00000000-0000-0000-0000-000000000000")
    return lowered


def check_resource_group(field: str, value: str) -> str:
    """Returns `value` if it can name a resource group: 1 to 90 letters, digits, `_().-`, no period at the end."""
    if not _RESOURCE_GROUP.fullmatch(value):
        raise InvalidFieldError(
            field,
            f"{shown(value)} is not a resource group name",
            "1 to 90 letters, digits and _().- with no period at the end",
        )
    return value
