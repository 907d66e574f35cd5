"""`valetkey service-connector`: register, look at, verify, change and delete connectors."""

from typing import Annotated, Any

import typer

from valetkey.cli import consequences, error_output
from valetkey.cli.auth_methods import AuthMethod
from valetkey.cli.confirmation import confirm
from valetkey.cli.connector_consumer_view import received, show_received, token_of
from valetkey.cli.connector_options import parse_labels
from valetkey.cli.connector_register import register
from valetkey.cli.connector_types import describe_type, list_types
from valetkey.cli.connector_update import update
from valetkey.cli.connector_verify import verify
from valetkey.cli.connector_views import connector_json, print_connector, print_connectors
from valetkey.cli.global_options import client_of
from valetkey.cli.option_choices import ConnectorType, ResourceType
from valetkey.cli.output_option import Output
from valetkey.cli.resource_views import entry_json, print_entries
from valetkey.cli.rollback_and_versions import list_versions_of, rollback_of
from valetkey.cli.rotation import rotate_connector
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.errors import InvalidArgumentError
from valetkey.times import utc

app = typer.Typer(help="Register, list, verify, change and delete service connectors.", no_args_is_help=True)


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the connector.", show_default=False)]


def _text(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, show_default=False)


app.command()(register)
app.command()(update)
app.command()(list_types)
app.command()(describe_type)
app.command()(verify)
app.command("rotate")(rotate_connector)
app.command("rollback")(rollback_of("connector"))
app.command("list-versions")(list_versions_of("connector"))


@app.command("list")
def list_(
    context: typer.Context,
    *,
    connector_type: Annotated[
        ConnectorType | None, typer.Option("--type", "-t", help="Only of this kind of cloud.")
    ] = None,
    auth_method: Annotated[AuthMethod | None, _text("Only those that log in so.", "--auth-method", "-a")] = None,
    resource_type: Annotated[
        ResourceType | None, _text("Only those that serve such resources.", "--resource-type", "-r")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            metavar="KEY[=VALUE]",
            help="Only those with this label, or with any value of it; may be repeated: all must hold.",
            show_default=False,
        ),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the connectors, by name: all of them, or those that the options leave."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        connectors = client.list_connectors(
            type=connector_type and connector_type.value,
            auth_method=auth_method and auth_method.value,
            resource_type=resource_type and resource_type.value,
            labels=parse_labels(label or ()),
        )
    if screen.as_json:
        screen.json([connector_json(connector) for connector in connectors])
    else:
        print_connectors(screen, connectors)


@app.command()
def describe(
    context: typer.Context,
    *,
    name: Name,
    client_view: Annotated[
        bool, typer.Option("--client", help="Show what a consumer would receive of it: no token, unless asked.")
    ] = False,
    resource_id: Annotated[str | None, _text("With --client: this container only, or a path in it.")] = None,
    principal: Annotated[
        str | None, _text("With --client: who would receive it, such as key:trainer; you, if left out.")
    ] = None,
    show_token: Annotated[
        bool, typer.Option("--show-token", help="With --client: issue a token to you, and show it.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show one connector, without its secret; or, with --client, what a consumer would receive of it."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    if not client_view and (resource_id or principal or show_token):
        raise InvalidArgumentError("--resource-id, --principal and --show-token go with --client; add it")
    if principal and show_token:
        raise InvalidArgumentError("--show-token: only you can be given a token; leave --principal out")
    with client_of(context, screen) as client:
        if client_view:
            found = received(client, screen, name, resource_id=resource_id, principal=principal)
            token = token_of(client, name, found) if show_token else None
            show_received(screen, name, found, principal or "", token)
            return
        connector = client.get_connector(name)
    if screen.as_json:
        screen.json(connector_json(connector))
    else:
        print_connector(screen, connector)


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Delete a connector and every version of its secret. Says what goes along with it, and asks; --yes says yes."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        confirm(screen, f"delete service connector {name}", consequences.of_connector(client, name), yes=yes)
        client.delete_connector(name)
    if screen.as_json:
        screen.json({"deleted": name})
    else:
        screen.line(f"Deleted service connector `{name}`.")
        screen.note(consequences.REMOVED)


@app.command()
def drop_keys(context: typer.Context, name: Name, output: Output = OutputFormat.TABLE) -> None:
    """Have the broker fetch new signing keys, as after their revocation in Azure. Tokens that are out stay."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        since = client.drop_signing_keys(name)
    if screen.as_json:
        screen.json({"connector": name, "not_before": utc(since)})
    else:
        screen.line(f"Service connector `{name}` signs with keys from {utc(since)} on only, on every replica.")


@app.command()
def list_resources(
    context: typer.Context,
    resource_type: Annotated[
        ResourceType | None, _text("Only resources of this type.", "--resource-type", "-r")
    ] = None,
    connector: Annotated[str | None, _text("Only what this connector reaches.")] = None,
    resource_id: Annotated[str | None, _text("Only this resource.", "--resource-id", "-ri")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the cloud now, past what it said a moment ago (viewer and above).")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List what your connectors reach. One that fails shows its error in its row; exit 1 if all fail."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client, screen.busy("Asking the cloud what the connectors reach"):
        entries = client.list_resources(
            resource_type=resource_type.value if resource_type else None,
            connector=connector,
            resource_id=resource_id,
            refresh=refresh,
        )
    if resource_id and not any(entry.resources for entry in entries):
        screen.note(f"nothing found for {resource_id if '://' in resource_id else f'az://{resource_id}'}")
    elif not entries and not connector:
        screen.note(f"no grant lets you use any {resource_type.value if resource_type else 'resource'}")
    if screen.as_json:
        screen.json([entry_json(entry) for entry in entries])
    else:
        # A connector that does not reach the one resource asked for has nothing to say about it.
        rows = [entry for entry in entries if entry.resources or entry.error or not resource_id]
        if rows or not resource_id:
            print_entries(screen, rows)
    if entries and all(entry.error for entry in entries):
        raise typer.Exit(error_output.REFUSED)
