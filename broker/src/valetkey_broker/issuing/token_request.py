"""What a caller wants tokens for, parsed once."""

from dataclasses import dataclass
from typing import Self

from valetkey_broker.model import InvalidFieldError, PermissionSet, ResourceId, check_name, parse_source_ip

_MOST_PURPOSE = 200


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request whose every field follows the rules of its kind; whether it is allowed is not said.

    `ttl` is each token's life in whole seconds, None for the default; `connector`, `source_ip` and `purpose` are empty
    where the caller named none.
    """

    resource: ResourceId
    permissions: PermissionSet
    ttl: int | None = None
    connector: str = ""
    source_ip: str = ""
    purpose: str = ""

    @classmethod
    def parse(
        cls,
        resource_id: str,
        permissions: PermissionSet,
        *,
        ttl: int | None = None,
        connector: str = "",
        source_ip: str = "",
        purpose: str = "",
    ) -> Self:
        """Returns the request that a caller's words make. Raises InvalidFieldError for those that are malformed."""
        resource = ResourceId.parse(resource_id)
        source_ip = parse_source_ip(source_ip) if source_ip else ""
        if connector:
            check_name("connector", connector)
        if len(purpose) > _MOST_PURPOSE or not purpose.isprintable():
            raise InvalidFieldError(
                "purpose", "is too long, or holds unprintable characters", f"at most {_MOST_PURPOSE} printable ones"
            )
        return cls(resource, permissions, ttl, connector, source_ip, purpose)
