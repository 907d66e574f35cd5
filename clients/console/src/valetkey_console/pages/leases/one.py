"""The page of one lease: what the broker knows of the token, and what would explain a refusal by storage."""

from urllib.parse import urlencode

from starlette.responses import Response

from valetkey_console.broker.failures import Failure
from valetkey_console.pages.resources.ids import container_of
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit

_UNKNOWN = Failure(
    "Lease not found",
    "The ledger has no lease with this id that you may see. Old records are deleted after a while.",
    "Go back to the list, and show expired leases, too.",
    404,
)
_ALIVE = ("live", "waiting", "revoking")


async def show_one(visit: Visit) -> Response:
    """Shows one lease."""
    name = visit.name()
    known = await visit.broker.diagnose_token(lease_id=name)
    lease = known.lease
    if lease is None:
        return visit.fail(_UNKNOWN)
    question = {"resource": lease.resource, "principal": lease.principal, "permissions": ",".join(lease.permissions)}
    return visit.render(
        "leases/one.html",
        lease=lease,
        findings=known.findings,
        container=container_of(lease.resource),
        explain_path=f"/explain?{urlencode(question)}",
        may_revoke=visit.may(OPERATORS) and lease.state in _ALIVE,
        line=command("valetkey", "lease", "list", "--all", "--principal", lease.principal),
        revoke_line=command("valetkey", "lease", "revoke", of=lease.id),
    )
