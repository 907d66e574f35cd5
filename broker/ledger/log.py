"""Records leases as log lines: who got what, for how long. See docs/adr/0003 for what this is and is not."""

from broker.model import Lease
from broker.observability.logging import write_record


class LogLedger:
    """Writes one line a lease, before its token leaves; the token itself is never in it."""

    async def record(self, lease: Lease) -> None:
        """Writes the line."""
        write_record(
            "token issued",
            {
                "lease_id": lease.id,
                "principal": lease.principal,
                "connector": lease.connector,
                "credential_version": lease.credential_version,
                "resource": lease.url,
                "permissions": lease.permissions.sp,
                "starts": lease.starts,
                "expires": lease.expires,
            },
        )
