"""`valetkey lease`: which tokens are out there, and taking access back."""

from typing import Annotated, Any

import typer

from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.quoting import one_line
from valetkey.cli.revocations import lift, list_revocations, revoke
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.ledger_values import Lease
from valetkey.times import utc

app = typer.Typer(
    help="See issued tokens, never the tokens themselves; revoke, and lift revocations.", no_args_is_help=True
)
app.command()(revoke)
app.command()(list_revocations)
app.command()(lift)


@app.command("list")
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    principal: Annotated[
        str | None, typer.Option(help="Only of this principal, such as key:trainer.", show_default=False)
    ] = None,
    connector: Annotated[str | None, typer.Option(help="Only of this connector.", show_default=False)] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            help="Only of this container, blob or directory, such as az://models or az://models/v1/.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many; all if left out.", show_default=False)
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the tokens that still live, newest first."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        found = client.list_leases(
            include_expired=everything, principal=principal, connector=connector, resource=resource, limit=limit
        )
    if screen.as_json:
        screen.json([_json(lease) for lease in found])
        return
    screen.table(
        [
            "LEASE ID",
            "PRINCIPAL",
            "RESOURCE",
            "PERMISSIONS",
            "CONNECTOR",
            "GRANT",
            "ISSUED",
            "EXPIRES",
            "STATE",
            "PURPOSE",
        ],
        [
            [
                lease.id,
                lease.principal,
                lease.resource,
                ", ".join(lease.permissions),
                lease.connector,
                lease.grant,
                utc(lease.issue_time),
                utc(lease.expire_time),
                f"{lease.state} ({lease.revocation})" if lease.revocation else lease.state,
                one_line(lease.purpose),
            ]
            for lease in found
        ],
    )


def _json(lease: Lease) -> dict[str, Any]:
    return {
        "lease_id": lease.id,
        "principal": lease.principal,
        "resource": lease.resource,
        "permissions": list(lease.permissions),
        "connector": lease.connector,
        "credential_version": lease.credential_version,
        "grant": lease.grant,
        "issue_time": utc(lease.issue_time),
        "expire_time": utc(lease.expire_time),
        "state": lease.state,
        "revocation": lease.revocation,
        "purpose": lease.purpose,
    }
