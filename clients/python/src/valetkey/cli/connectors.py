"""`valetkey service-connector`: register, look at, verify and delete connectors."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from valetkey.cli import consequences, failures
from valetkey.cli.client_secret import ENVIRONMENT, read_client_secret
from valetkey.cli.option_choices import ConnectorType, ResourceType
from valetkey.cli.resources import entry_json, print_entries, print_reached, reached_json
from valetkey.cli.screen import Output, OutputFormat, Screen
from valetkey.cli.session import client_of, confirm
from valetkey.cli.times import utc
from valetkey.values import AzureConfig, Connector

app = typer.Typer(help="Register, list, verify and delete service connectors.", no_args_is_help=True)


class AuthMethod(StrEnum):
    """How a connector logs in; what each takes is among the options of `register`."""

    SERVICE_PRINCIPAL = "service-principal"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the connector.", show_default=False)]


def _text(help_text: str) -> Any:
    return typer.Option(help=help_text, show_default=False)


@app.command()
def register(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="1 to 63 lower-case letters, digits, inner hyphens.", show_default=False),
    ],
    tenant_id: Annotated[str, _text("Entra tenant, a UUID.")],
    client_id: Annotated[str, _text("Application (client) id of the service principal, a UUID.")],
    connector_type: Annotated[ConnectorType, typer.Option("--type", help="Kind of cloud.")] = ConnectorType.AZURE,
    auth_method: Annotated[AuthMethod, typer.Option(help="How it logs in.")] = AuthMethod.SERVICE_PRINCIPAL,
    client_secret: Annotated[
        str | None,
        typer.Option(
            metavar="@FILE|-",
            help="The secret: @FILE, or - for standard input. Left out: "
            f"{ENVIRONMENT} of the environment, else a hidden prompt.",
            show_default=False,
        ),
    ] = None,
    resource_type: Annotated[
        ResourceType, typer.Option(help="Type of the resources it serves.")
    ] = ResourceType.BLOB_CONTAINER,
    resource_id: Annotated[
        str | None, _text("The one resource it serves, such as az://models; all it reaches if left out.")
    ] = None,
    storage_account: Annotated[
        str | None, _text("Storage account; found through Azure Resource Manager if left out.")
    ] = None,
    subscription_id: Annotated[str | None, _text("Subscription to look for accounts in, a UUID.")] = None,
    resource_group: Annotated[str | None, _text("Resource group to look for accounts in.")] = None,
    cloud: Annotated[str | None, _text("Cloud profile of the broker's settings; its default if left out.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Verify a new connector and store it. Where verification fails, nothing is stored."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        secret = read_client_secret(client_secret, screen)
        with screen.busy(f"Verifying {name}: logging in, listing, getting a delegation key"):
            created = client.create_connector(
                name,
                type=connector_type.value,
                auth_method=auth_method.value,
                resource_type=resource_type.value,
                resource_id=resource_id,
                azure=AzureConfig(
                    tenant_id=tenant_id,
                    client_id=client_id,
                    cloud=cloud or "",
                    storage_account=storage_account or "",
                    subscription_id=subscription_id or "",
                    resource_group=resource_group or "",
                ),
                secrets={"client_secret": secret},
            )
    if screen.as_json:
        screen.json({"connector": _json(created.connector), **reached_json(created.resources)})
        return
    screen.line(f"Successfully registered service connector `{name}` with access to the following resources:")
    print_reached(screen, name, created.connector.resource_type, created.resources)


@app.command("list")
def list_(context: typer.Context, output: Output = OutputFormat.TABLE) -> None:
    """List the connectors, by name."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        connectors = client.list_connectors()
    if screen.as_json:
        screen.json([_json(connector) for connector in connectors])
        return
    screen.table(
        ["NAME", "ID", "TYPE", "AUTH METHOD", "RESOURCE TYPE", "RESOURCE NAME", "CREATED"],
        [
            [
                connector.name,
                connector.uid,
                connector.type,
                connector.auth_method,
                connector.resource_type,
                connector.resource_id or "<all it reaches>",
                utc(connector.create_time),
            ]
            for connector in connectors
        ],
    )


@app.command()
def describe(context: typer.Context, name: Name, output: Output = OutputFormat.TABLE) -> None:
    """Show one connector, without its secret."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        connector = client.get_connector(name)
    if screen.as_json:
        screen.json(_json(connector))
        return
    screen.properties(
        [
            ("name", connector.name),
            ("id", connector.uid),
            ("type", connector.type),
            ("auth method", connector.auth_method),
            ("resource type", connector.resource_type),
            ("resource name", connector.resource_id or "<all it reaches>"),
            ("tenant id", connector.azure.tenant_id),
            ("client id", connector.azure.client_id),
            ("cloud", connector.azure.cloud),
            ("storage account", connector.azure.storage_account),
            ("subscription id", connector.azure.subscription_id),
            ("resource group", connector.azure.resource_group),
            ("credential version", str(connector.credential_version)),
            ("created", utc(connector.create_time)),
            ("created by", connector.created_by),
        ]
    )


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
def verify(context: typer.Context, name: Name, output: Output = OutputFormat.TABLE) -> None:
    """Log in with a stored connector and show what it reaches now."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client, screen.busy(f"Verifying {name}"):
        resources = client.verify_connector(name)
    if screen.as_json:
        screen.json({"connector": name, **reached_json(resources)})
        return
    screen.line(f"Service connector `{name}` works, with access to the following resources:")
    print_reached(screen, name, resources[0].resource_type if resources else "", resources)


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
    resource_type: Annotated[ResourceType | None, _text("Only resources of this type.")] = None,
    connector: Annotated[str | None, _text("Only what this connector reaches.")] = None,
    resource_id: Annotated[str | None, _text("Only this resource.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List what your connectors reach. One that fails shows its error in its row; exit 1 if all fail."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client, screen.busy("Asking the cloud what the connectors reach"):
        entries = client.list_resources(
            resource_type=resource_type.value if resource_type else None,
            connector=connector,
            resource_id=resource_id,
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
        raise typer.Exit(failures.REFUSED)


def _json(connector: Connector) -> dict[str, Any]:
    return {
        "name": connector.name,
        "id": connector.uid,
        "type": connector.type,
        "auth_method": connector.auth_method,
        "resource_type": connector.resource_type,
        "resource_id": connector.resource_id,
        "azure": {
            "tenant_id": connector.azure.tenant_id,
            "client_id": connector.azure.client_id,
            "cloud": connector.azure.cloud,
            "storage_account": connector.azure.storage_account,
            "subscription_id": connector.azure.subscription_id,
            "resource_group": connector.azure.resource_group,
        },
        "credential_version": connector.credential_version,
        "create_time": utc(connector.create_time),
        "created_by": connector.created_by,
    }
