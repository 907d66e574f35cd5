"""`valetkey service-connector register`: verify a new connector and store it."""

from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Annotated, Any

import typer

from valetkey.cli.auth_methods import SECRET_FIELDS, AuthMethod, choose, option
from valetkey.cli.connector_options import (
    Description,
    ExpiresAt,
    ExpiresSkewTolerance,
    Labels,
    NoVerify,
    notes_of,
)
from valetkey.cli.connector_views import connector_json
from valetkey.cli.credential_values import merged, read_values
from valetkey.cli.option_choices import ConnectorType, ResourceType
from valetkey.cli.resources import print_reached, reached_json
from valetkey.cli.screen import Output, OutputFormat, Screen
from valetkey.cli.secret_values import in_environment, read_secrets
from valetkey.cli.session import client_of
from valetkey.errors import InvalidArgumentError
from valetkey.values import AzureConfig

_LOGIN = "How it logs in"
_PLACE = "What it serves, and where"


def _text(help_text: str, panel: str = _PLACE, metavar: str | None = None) -> Any:
    return typer.Option(help=help_text, show_default=False, rich_help_panel=panel, metavar=metavar)


def _login(help_text: str) -> Any:
    return _text(help_text, _LOGIN)


def _secret(help_text: str) -> Any:
    return _text(help_text, _LOGIN, "@FILE|-")


def register(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="1 to 63 lower-case letters, digits, inner hyphens.", show_default=False),
    ],
    connector_type: Annotated[ConnectorType, typer.Option("--type", help="Kind of cloud.")] = ConnectorType.AZURE,
    auth_method: Annotated[
        AuthMethod | None,
        _text(f"{', '.join(AuthMethod)}; recognised by what is given, if left out.", _LOGIN, "METHOD"),
    ] = None,
    tenant_id: Annotated[str | None, _login("Entra tenant, a UUID (service-principal).")] = None,
    client_id: Annotated[
        str | None,
        _login("Application (client) id of the service principal, a UUID; or of the identity to use (implicit)."),
    ] = None,
    client_secret: Annotated[
        str | None,
        _secret("Secret of the service principal."),
    ] = None,
    client_certificate: Annotated[
        str | None,
        _secret("Instead of it, a certificate and its private key: PEM or PFX."),
    ] = None,
    client_certificate_password: Annotated[str | None, _secret("Password of the PFX, or of the private key.")] = None,
    account_key: Annotated[str | None, _secret("Key of the storage account, key1 or key2 (account-key).")] = None,
    connection_string: Annotated[
        str | None, _secret("Connection string with an account key (connection-string).")
    ] = None,
    implicit_source: Annotated[
        str | None,
        _login(
            "What the broker's own environment offers: managed-identity, workload-identity or environment (implicit)."
        ),
    ] = None,
    values: Annotated[
        str | None,
        _text(
            "These as names and values in JSON or YAML, such as '{account_name: …, account_key: …}'; or a file.",
            _LOGIN,
            "@FILE|-",
        ),
    ] = None,
    resource_type: Annotated[
        ResourceType, typer.Option(help="Type of the resources it serves.", rich_help_panel=_PLACE)
    ] = ResourceType.BLOB_CONTAINER,
    resource_id: Annotated[
        str | None, _text("The one resource it serves, such as az://models; all it reaches if left out.")
    ] = None,
    storage_account: Annotated[
        str | None,
        _text("Storage account, also as --account-name; found through Azure Resource Manager if left out."),
    ] = None,
    account_name: Annotated[str | None, typer.Option(hidden=True)] = None,
    subscription_id: Annotated[str | None, _text("Subscription to look for accounts in, a UUID.")] = None,
    resource_group: Annotated[str | None, _text("Resource group to look for accounts in.")] = None,
    cloud: Annotated[str | None, _text("Cloud profile of the broker's settings; its default if left out.")] = None,
    description: Description = None,
    label: Labels = None,
    expires_at: ExpiresAt = None,
    expires_skew_tolerance: ExpiresSkewTolerance = None,
    no_verify: NoVerify = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Verify a new connector and store it. Where verification fails, nothing is stored.

    What is secret is given as @FILE, or as - for standard input. Left out, it is taken from the environment (from
    VALETKEY_CLIENT_SECRET, VALETKEY_ACCOUNT_KEY and so on), else asked for without showing it.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    notes = notes_of(
        description=description, label=label, expires_at=expires_at, expires_skew_tolerance=expires_skew_tolerance
    )
    given = {
        "tenant_id": tenant_id,
        "client_id": client_id,
        "client_secret": client_secret,
        "client_certificate": client_certificate,
        "client_certificate_password": client_certificate_password,
        "account_key": account_key,
        "connection_string": connection_string,
        "implicit_source": implicit_source,
        "storage_account": _one("--storage-account", storage_account, "--account-name", account_name),
        "subscription_id": subscription_id,
        "resource_group": resource_group,
        "cloud": cloud,
    }
    options = {field: value for field, value in given.items() if value is not None}
    with client_of(context, screen) as client:
        noted = read_values(values, screen) if values is not None else {}
        said = merged(options, noted)
        method = choose(auth_method, said, in_environment(SECRET_FIELDS))
        secrets = read_secrets(method, _secret_ones(options), screen, noted=_secret_ones(noted))
        with screen.busy(f"Storing {name}" if no_verify else f"Verifying {name}: logging in, listing, getting a key"):
            created = client.create_connector(
                name,
                type=connector_type.value,
                auth_method=method.value,
                resource_type=resource_type.value,
                resource_id=resource_id,
                azure=_azure({field: value for field, value in said.items() if field not in SECRET_FIELDS}),
                secrets=secrets,
                verify=not no_verify,
                **notes,
            )
    for warning in created.warnings:
        screen.warn(warning)
    if screen.as_json:
        told = {"warnings": list(created.warnings)}
        screen.json({"connector": connector_json(created.connector), **reached_json(created.resources), **told})
        return
    if no_verify:
        screen.line(f"Registered service connector `{name}`, unverified.")
        screen.note(f"see whether it works with: valetkey service-connector verify {name}")
        return
    screen.line(f"Successfully registered service connector `{name}` with access to the following resources:")
    print_reached(screen, name, created.connector.resource_type, created.resources)


def _secret_ones(fields: Mapping[str, str]) -> dict[str, str]:
    return {field: value for field, value in fields.items() if field in SECRET_FIELDS}


def _one(option_name: str, value: str | None, alias: str, other: str | None) -> str | None:
    if value is not None and other is not None:
        raise InvalidArgumentError(f"{option_name} and {alias} are the same; expected one of them")
    return other if value is None else value


def _azure(given: Mapping[str, str]) -> AzureConfig:
    known = {field.name for field in fields_of(AzureConfig)}
    if unknown := [field for field in given if field not in known]:
        raise InvalidArgumentError(f"{option(unknown[0])}: is not known to this version of the client; leave it out")
    return AzureConfig(**{"tenant_id": "", "client_id": "", **given})
