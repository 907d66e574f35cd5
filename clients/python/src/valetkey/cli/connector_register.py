"""`valetkey service-connector register`: verify a new connector and store it."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import typer

from valetkey.cli.auth_methods import SECRET_FIELDS, AuthMethod, check_taken, choose, option, recognised
from valetkey.cli.checklist_views import print_checks
from valetkey.cli.connector_draft import Draft, config_of, secrets_of
from valetkey.cli.connector_options import (
    Description,
    ExpiresAt,
    ExpiresSkewTolerance,
    Labels,
    NoVerify,
    ProbeWrite,
    RotateBy,
    RotateEvery,
    notes_of,
    parse_schedule,
    schedule,
)
from valetkey.cli.connector_views import created_json
from valetkey.cli.credential_input import in_environment, read_given, read_missing
from valetkey.cli.credential_options import given_options
from valetkey.cli.credential_parsing import merged, read_values
from valetkey.cli.environment_credentials import read_offer, the_offer
from valetkey.cli.global_options import client_of
from valetkey.cli.option_choices import ConnectorType, ResourceType
from valetkey.cli.output_option import Output
from valetkey.cli.prompts import Left, Prompts
from valetkey.cli.register_wizard import Wizard
from valetkey.cli.resource_views import print_reached
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.errors import InvalidArgumentError, ValetKeyError

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
        str | None,
        typer.Argument(metavar="NAME", help="1 to 63 lower-case letters, digits, inner hyphens.", show_default=False),
    ] = None,
    connector_type: Annotated[ConnectorType, typer.Option("--type", "-t", help="Kind of cloud.")] = ConnectorType.AZURE,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Ask for it step by step, and show what it reaches.")
    ] = False,
    auto_configure: Annotated[
        bool, typer.Option("--auto-configure", help="Take the credential that your own environment (AZURE_…) offers.")
    ] = False,
    auth_method: Annotated[
        AuthMethod | None,
        typer.Option(
            "--auth-method",
            "-a",
            metavar="METHOD",
            help=f"{', '.join(AuthMethod)}; recognised by what is given, if left out.",
            show_default=False,
            rich_help_panel=_LOGIN,
        ),
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
    authentication_secret: Annotated[
        str | None, _login("Instead of these, the name of a secret to use: see valetkey secret create.")
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
        ResourceType | None,
        typer.Option(
            "--resource-type",
            "-r",
            help="Type of the resources it serves; all types if left out, or that of the --resource-id.",
            show_default=False,
            rich_help_panel=_PLACE,
        ),
    ] = None,
    resource_id: Annotated[
        str | None,
        typer.Option(
            "--resource-id",
            "-ri",
            help="The one resource it serves, such as az://models; all it reaches if left out.",
            show_default=False,
            rich_help_panel=_PLACE,
        ),
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
    rotate_every: RotateEvery = None,
    rotate_by: RotateBy = None,
    no_verify: NoVerify = False,
    probe_write: ProbeWrite = False,
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
    wanted = parse_schedule(rotate_every, rotate_by)
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
        subscription_id=subscription_id,
        resource_group=resource_group,
        cloud=cloud,
    )
    if name is None and not interactive:
        raise InvalidArgumentError("NAME is not given; expected a name for the connector, or -i to be asked")
    if probe_write and no_verify:
        raise InvalidArgumentError(
            "--probe-write: is part of verifying, which --no-verify leaves out; give one of them"
        )
    if interactive and no_verify:
        raise InvalidArgumentError("--no-verify: --interactive shows what is reached, and so verifies; leave one out")
    with client_of(context, screen) as client:
        said, method = _said(options, values, auth_method, screen, auto_configure=auto_configure)
        if authentication_secret is not None:
            _check_nothing_besides(said, interactive=interactive, auto_configure=auto_configure)
        if interactive:
            place = (name, connector_type.value, resource_type and resource_type.value, resource_id)
            draft = _asked(Wizard(Prompts(screen), client, said, method, notes), *place)
        else:
            if authentication_secret is None:
                method = choose(method or choose(None, said, in_environment(SECRET_FIELDS)), said)
            draft = Draft(
                name=name or "",
                connector_type=connector_type.value,
                auth_method=method,
                authentication_secret=authentication_secret or "",
                resource_type=resource_type and resource_type.value,
                resource_id=resource_id,
                config=config_of(said),
                secrets=read_missing(method, secrets_of(said), screen) if method and not authentication_secret else {},
                notes=notes,
            )
        what = "Storing" if no_verify else "Verifying: logging in, listing, getting a key, and storing"
        with screen.busy(f"{what} {draft.name}"):
            with _said_if_nothing_was_stored():
                created = client.create_connector(
                    draft.name, **draft.arguments(), **draft.notes, verify=not no_verify, probe_write=probe_write
                )
            created = replace(created, connector=schedule(client, screen, created.connector, wanted))
    for warning in created.warnings:
        screen.warn(warning)
    if screen.as_json:
        screen.json(created_json(created))
        return
    if no_verify:
        screen.line(f"Registered service connector `{draft.name}`, unverified.")
        screen.note(f"see whether it works with: valetkey service-connector verify {draft.name}")
        return
    screen.line(f"Successfully registered service connector `{draft.name}` with access to the following resources:")
    print_reached(screen, draft.name, created.resources, created.connector.resource_types)
    print_checks(screen, created.resources.checks)


@contextmanager
def _said_if_nothing_was_stored() -> Iterator[None]:
    """Notes it with the error where the broker says what it checked; other failures may leave it open."""
    try:
        yield
    except ValetKeyError as error:
        if error.checks:
            error.add_note("nothing was stored")
        raise


def _check_nothing_besides(said: Mapping[str, str], *, interactive: bool, auto_configure: bool) -> None:
    """Raises InvalidArgumentError for what gives a connector a secret of its own, besides a named one."""
    asking = {"--interactive": interactive, "--auto-configure": auto_configure}
    besides = [*map(option, secrets_of(said)), *(name for name, given in asking.items() if given)]
    if besides:
        raise InvalidArgumentError(
            f"--authentication-secret and {' and '.join(besides)}: expected a secret of its own, or a named one"
        )


def _said(
    options: Mapping[str, str],
    values: str | None,
    auth_method: AuthMethod | None,
    screen: Screen,
    *,
    auto_configure: bool,
) -> tuple[dict[str, str], AuthMethod | None]:
    """Returns what options, --values and the environment give, secrets included, and the auth method, if it is said.

    Raises InvalidArgumentError or SettingsError for what cannot be used.
    """
    piped = [option(name) for name, value in secrets_of(options).items() if value == "-"]
    if values == "-" and piped:
        raise InvalidArgumentError(f"--values and {piped[0]}: only one of them can come from standard input")
    noted = read_values(values, screen) if values is not None else {}
    said = merged(options, noted)
    if auto_configure:
        offer = the_offer(os.environ, auth_method)
        given = {name: value for name, value in said.items() if name in offer.fields or name in secrets_of(said)}
        if given:
            raise InvalidArgumentError(f"{option(next(iter(given)))} is given besides --auto-configure; leave one out")
        screen.note(f"--auto-configure takes {offer}")
        return said | read_offer(offer, screen), offer.auth_method
    method = auth_method or recognised(said)
    if method is not None:
        check_taken(method, said)
    return said | read_given(secrets_of(options), screen), method


def _asked(
    wizard: Wizard, name: str | None, connector_type: str, resource_type: str | None, resource_id: str | None
) -> Draft:
    try:
        return wizard.run(name, connector_type, resource_type, resource_id)
    except (Left, KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\nLeft; nothing was stored.\n")
        raise typer.Abort from None
