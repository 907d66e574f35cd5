"""Who calls, as the broker knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """Who calls, as the broker knows it. `authentication` is api-key, oidc or mtls.

    `expire_time` is when what proves it ends, None where it does not end by itself. `attributes` are what grants can
    match besides the principal.
    """

    principal: str
    roles: tuple[str, ...]
    authentication: str
    expire_time: datetime | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
