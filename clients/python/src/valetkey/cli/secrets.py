"""`valetkey secret`: credentials that connectors share. Values go in; nothing shows them again."""

from collections.abc import Mapping
from typing import Annotated

import typer

from valetkey.cli import consequences
from valetkey.cli.auth_methods import ALIASES, SECRET_FIELDS, AuthMethod, check_taken, choose, recognised
from valetkey.cli.confirmation import confirm
from valetkey.cli.connector_draft import azure_of, config_of, secrets_of
from valetkey.cli.connector_options import ExpiresAt
from valetkey.cli.credential_input import in_environment, read_given, read_missing
from valetkey.cli.credential_options import (
    AccountKey,
    AccountName,
    ClientCertificate,
    ClientCertificatePassword,
    ClientId,
    ClientSecret,
    Cloud,
    ConnectionString,
    ImplicitSource,
    Method,
    StorageAccount,
    TenantId,
    Values,
    given_options,
)
from valetkey.cli.credential_parsing import merged, read_values
from valetkey.cli.global_options import client_of
from valetkey.cli.option_choices import ConnectorType
from valetkey.cli.output_option import Output
from valetkey.cli.rollback_and_versions import list_versions_of, rollback_of
from valetkey.cli.rotation import rotate_secret
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.cli.secret_views import print_secret, print_secrets, secret_json
from valetkey.errors import InvalidArgumentError
from valetkey.times import parse_moment

app = typer.Typer(
    help="Store, list, change and delete named secrets: credentials that several connectors may use.",
    no_args_is_help=True,
)

app.command("rotate")(rotate_secret)
app.command("rollback")(rollback_of("secret"))
app.command("list-versions")(list_versions_of("secret"))

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the secret.", show_default=False)]


@app.command()
def create(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="1 to 63 lower-case letters, digits, inner hyphens and underscores.",
            show_default=False,
        ),
    ],
    connector_type: Annotated[ConnectorType, typer.Option("--type", help="Kind of cloud.")] = ConnectorType.AZURE,
    auth_method: Method = None,
    tenant_id: TenantId = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    client_certificate: ClientCertificate = None,
    client_certificate_password: ClientCertificatePassword = None,
    account_key: AccountKey = None,
    connection_string: ConnectionString = None,
    implicit_source: ImplicitSource = None,
    values: Values = None,
    storage_account: StorageAccount = None,
    account_name: AccountName = None,
    cloud: Cloud = None,
    expires_at: ExpiresAt = None,
    verify: Annotated[bool, typer.Option("--verify", help="Log in with it before it is stored.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Store a secret, for connectors to use: service-connector register … --authentication-secret NAME.

    What is secret is given as @FILE, or as - for standard input. Left out, it is taken from the environment (from
    VALETKEY_CLIENT_SECRET, VALETKEY_ACCOUNT_KEY and so on), else asked for without showing it.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    options = given_options(
        tenant_id=tenant_id,
        client_id=client_id,
        client_secret=client_secret,
        client_certificate=client_certificate,
        client_certificate_password=client_certificate_password,
        account_key=account_key,
        connection_string=connection_string,
        implicit_source=implicit_source,
        storage_account=storage_account,
        account_name=account_name,
        cloud=cloud,
    )
    with client_of(context, screen) as client:
        said = _said(options, values, screen)
        method = choose(auth_method, said, in_environment(SECRET_FIELDS))
        secrets = read_missing(method, secrets_of(said), screen)
        stored = client.create_secret(
            name,
            type=connector_type.value,
            auth_method=method.value,
            azure=azure_of(config_of(said)),
            secrets=secrets,
            verify=verify,
            expire_time=parse_moment(expires_at, "--expires-at", ago=False) if expires_at else None,
        )
    if screen.as_json:
        screen.json(secret_json(stored))
        return
    screen.line(f"Secret `{name}` stored ({stored.auth_method}).")
    screen.note(f"use it with: valetkey service-connector register CONNECTOR --authentication-secret {name}")


@app.command("list")
def list_(context: typer.Context, output: Output = OutputFormat.TABLE) -> None:
    """List the secrets, by name: their kinds, ages, and who uses them."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        secrets = client.list_secrets()
    if screen.as_json:
        screen.json([secret_json(secret) for secret in secrets])
    else:
        print_secrets(screen, secrets)


@app.command()
def describe(context: typer.Context, name: Name, output: Output = OutputFormat.TABLE) -> None:
    """Show one secret, without its value, and which connectors use it."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        secret = client.get_secret(name)
    if screen.as_json:
        screen.json(secret_json(secret))
    else:
        print_secret(screen, secret)


@app.command()
def update(
    context: typer.Context,
    *,
    name: Name,
    auth_method: Method = None,
    tenant_id: TenantId = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    client_certificate: ClientCertificate = None,
    client_certificate_password: ClientCertificatePassword = None,
    account_key: AccountKey = None,
    connection_string: ConnectionString = None,
    implicit_source: ImplicitSource = None,
    values: Values = None,
    storage_account: StorageAccount = None,
    account_name: AccountName = None,
    cloud: Cloud = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove", "-r", "--remove-keys", help="Field to take away, such as account-name.", show_default=False
        ),
    ] = None,
    expires_at: ExpiresAt = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not verify the connectors that use it.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a secret another value, for every connector that uses it; what is not given stays.

    Every one of them is verified with the new value first: where one fails, nothing is changed. Without any option, it
    asks for the value, or takes it from the environment.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    options = given_options(
        tenant_id=tenant_id,
        client_id=client_id,
        client_secret=client_secret,
        client_certificate=client_certificate,
        client_certificate_password=client_certificate_password,
        account_key=account_key,
        connection_string=connection_string,
        implicit_source=implicit_source,
        storage_account=storage_account,
        account_name=account_name,
        cloud=cloud,
    )
    with client_of(context, screen) as client:
        said = _said(options, values, screen)
        there = AuthMethod(client.get_secret(name).auth_method)
        method = auth_method or recognised(said) or there
        check_taken(method, said)
        asked = not said and not remove and not expires_at
        secrets = (
            read_missing(method, secrets_of(said), screen) if secrets_of(said) or asked or method is not there else {}
        )
        with screen.busy(f"Updating {name}: verifying what uses it"):
            updated = client.update_secret(
                name,
                azure=azure_of(config_of(said)),
                secrets=secrets,
                auth_method=method.value if method is not there else None,
                remove=[_field(each) for each in remove or ()],
                verify=not no_verify,
                expire_time=parse_moment(expires_at, "--expires-at", ago=False) if expires_at else None,
            )
    if screen.as_json:
        screen.json({"secret": secret_json(updated.secret), "verified": list(updated.verified)})
        return
    screen.line(f"Secret `{name}` updated, version {updated.secret.credential_version}.")
    if updated.verified:
        screen.line(f"Verified with it: {', '.join(updated.verified)}.")
    elif updated.secret.connector_count:
        screen.note(
            f"not verified: {', '.join(updated.secret.connectors)}; see: valetkey service-connector verify NAME"
        )


@app.command()
def rename(
    context: typer.Context,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW-NAME", help="Its new name.", show_default=False)],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a secret another name. The connectors that use it go on using it."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        renamed = client.rename_secret(name, new_name)
    if screen.as_json:
        screen.json(secret_json(renamed))
    else:
        screen.line(f"Secret `{name}` is called `{renamed.name}` now.")


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Delete a secret for good; refused while connectors use it. Asks first; --yes says yes."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        confirm(screen, f"delete secret {name}", consequences.of_secret(client, name), yes=yes)
        client.delete_secret(name)
    if screen.as_json:
        screen.json({"deleted": name})
    else:
        screen.line(f"Deleted secret `{name}`.")


def _said(options: Mapping[str, str], values: str | None, screen: Screen) -> dict[str, str]:
    """Returns what options and --values give, secrets included. Raises InvalidArgumentError or SettingsError."""
    noted = read_values(values, screen) if values is not None else {}
    return merged({**options, **read_given(secrets_of(options), screen)}, noted)


def _field(text: str) -> str:
    field = text.replace("-", "_").lower()
    if field in SECRET_FIELDS:
        raise InvalidArgumentError(
            f"--remove {text}: is the secret itself; give another value instead, or delete what uses it and the secret"
        )
    return ALIASES.get(field, field)
