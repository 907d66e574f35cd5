"""Issues tokens.

The order of the steps is the security property: nothing is asked of Azure for a caller who may not, and no token
leaves that is not recorded.
"""

import math
import os

from broker.authz.policy import usable_connectors
from broker.errors import BrokerError, Reason
from broker.issuing.choose import ConnectorChooser
from broker.issuing.delegation_keys import DelegationKeys
from broker.model import (
    InvalidFieldError,
    Lease,
    PermissionSet,
    Principal,
    ResourceId,
    SasRequest,
    check_name,
    parse_source_ip,
)
from broker.ports import Clock, Cloud, Ledger
from broker.settings import IssuingSettings
from broker.state.memory import Memory


class Issuer:
    """The use case of TokenService."""

    def __init__(
        self,
        *,
        memory: Memory,
        chooser: ConnectorChooser,
        keys: DelegationKeys,
        cloud: Cloud,
        ledger: Ledger,
        clock: Clock,
        settings: IssuingSettings,
    ) -> None:
        self._memory = memory
        self._chooser = chooser
        self._keys = keys
        self._cloud = cloud
        self._ledger = ledger
        self._clock = clock
        self._default_ttl = settings.default_ttl_seconds
        self._max_ttl = settings.max_ttl_seconds
        self._skew = settings.clock_skew_seconds

    async def issue(
        self,
        principal: Principal,
        *,
        resource_id: str,
        permissions: PermissionSet,
        ttl: int | None,
        connector_name: str,
        source_ip: str,
    ) -> Lease:
        """Issues one token. `ttl` is in whole seconds, None for the default.

        The token may end earlier than asked, with its key. Raises InvalidFieldError for malformed fields, BrokerError:
        RESOURCE_DENIED, RESOURCE_NOT_FOUND, RESOURCE_AMBIGUOUS, SCOPE_UNSUPPORTED, or one of broker.ports.Cloud.
        """
        resource = ResourceId.parse(resource_id)
        seconds = self._checked_ttl(ttl)
        source_ip = parse_source_ip(source_ip) if source_ip else ""
        if connector_name:
            check_name("connector", connector_name)
        connectors = usable_connectors(principal, self._memory, connector_name)
        connector, profile, container = await self._chooser.choose(principal, connectors, resource)
        if resource.prefix:
            raise BrokerError(
                Reason.SCOPE_UNSUPPORTED,
                f"a token for the path {resource} needs an account with hierarchical namespace, which this broker does "
                f"not serve; nothing wider is given in its place. Ask for az://{resource.container}",
                {"resource": str(resource)},
            )
        now = int(self._clock())
        expires = now + seconds
        key = self._keys.held(connector, container.account, expires)
        if key is None:
            key = await self._keys.get(connector, container.account, expires)
            expires = min(expires, int(key.expires))
        lease_id = _new_lease_id()
        starts = max(now - self._skew, math.ceil(key.starts))
        sas_token = self._cloud.sign(
            SasRequest(
                profile=profile,
                account=container.account,
                container=container.name,
                permissions=permissions,
                starts=starts,
                expires=expires,
                source_ip=source_ip,
                lease_id=lease_id,
                key=key,
            )
        )
        lease = Lease(
            id=lease_id,
            principal=principal.name,
            connector=connector.name,
            credential_version=connector.credential_version,
            account=container.account,
            container=container.name,
            url=container.url,
            permissions=permissions,
            starts=starts,
            expires=expires,
            sas_token=sas_token,
        )
        await self._ledger.record(lease)
        return lease

    def _checked_ttl(self, ttl: int | None) -> int:
        if ttl is None:
            return self._default_ttl
        if not 1 <= ttl <= self._max_ttl:
            raise InvalidFieldError("ttl", f"is {ttl} s", f"1 to {self._max_ttl} s, the limit of this broker")
        return ttl


def _new_lease_id() -> str:
    """Returns a random UUID (RFC 9562, version 4); the standard library's way takes four times as long."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
