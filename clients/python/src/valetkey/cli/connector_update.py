"""`valetkey service-connector update`: change what is given of a connector, and keep the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from valetkey.cli import consequences
from valetkey.cli.auth_methods import ALIASES, SECRET_FIELDS, AuthMethod
from valetkey.cli.checklist_views import print_checks
from valetkey.cli.confirmation import confirm
from valetkey.cli.connector_draft import secrets_of
from valetkey.cli.connector_options import (
    Description,
    ExpiresAt,
    ExpiresSkewTolerance,
    NoVerify,
    RotateBy,
    RotateEvery,
    notes_of,
    parse_schedule,
    schedule,
)
from valetkey.cli.connector_views import connector_json, created_json
from valetkey.cli.credential_input import read_given
from valetkey.cli.credential_options import given_options
from valetkey.cli.credential_parsing import merged, read_values
from valetkey.cli.global_options import client_of
from valetkey.cli.option_choices import ResourceType
from valetkey.cli.output_option import Output
from valetkey.cli.resource_views import print_reached
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.errors import InvalidArgumentError
from valetkey.values import Connector, CreatedConnector, Resources

_LOGIN = "How it logs in from now on"
_PLACE = "What it serves from now on, and where"
_KEEPS_ITS_OWN = (
    "--authentication-secret: a connector keeps the secret that it was registered with, its own or a named one; give "
    "that one another value (here by --client-secret and the like, a named one with `valetkey secret update`), or "
    "register another connector with the one you mean, and give it the grants of this one"
)
_FOLLOW = "every broker that reaches Vault uses it within 5 s; grants stay, and tokens that are out live on"
# Words of the options, where the API has others.
_REMOVE = {"label": "labels", "expires_at": "expire_time", **ALIASES}


def _text(help_text: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(help=help_text, show_default=False, rich_help_panel=panel, metavar=metavar)


_Plain = Annotated[str | None, _text("As for `register`.", _LOGIN)]
_Secret = Annotated[str | None, _text("New secret.", _LOGIN, "@FILE|-")]
_Where = Annotated[str | None, _text("As for `register`.", _PLACE)]


def update(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the connector.", show_default=False)],
    auth_method: Annotated[
        AuthMethod | None,
        typer.Option("--auth-method", "-a", help="Another way to log in.", show_default=False, rich_help_panel=_LOGIN),
    ] = None,
    tenant_id: _Plain = None,
    client_id: _Plain = None,
    client_secret: _Secret = None,
    client_certificate: _Secret = None,
    client_certificate_password: _Secret = None,
    account_key: _Secret = None,
    connection_string: _Secret = None,
    implicit_source: _Plain = None,
    values: Annotated[str | None, _text("These as names and values in JSON or YAML.", _LOGIN, "@FILE|-")] = None,
    resource_type: Annotated[
        ResourceType | None,
        typer.Option(
            "--resource-type",
            "-r",
            help="The one type of resources it serves; all types with --remove resource-type.",
            show_default=False,
            rich_help_panel=_PLACE,
        ),
    ] = None,
    resource_id: Annotated[
        str | None,
        typer.Option(
            "--resource-id",
            "-ri",
            help="The one resource it serves, such as az://models.",
            show_default=False,
            rich_help_panel=_PLACE,
        ),
    ] = None,
    storage_account: _Where = None,
    account_name: Annotated[str | None, typer.Option(hidden=True)] = None,
    authentication_secret: Annotated[str | None, typer.Option(hidden=True)] = None,
    subscription_id: _Where = None,
    resource_group: _Where = None,
    cloud: _Where = None,
    description: Description = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            metavar="KEY[=VALUE]",
            help="Label to add or to change; without =VALUE, to take away. May be repeated.",
            show_default=False,
        ),
    ] = None,
    expires_at: ExpiresAt = None,
    expires_skew_tolerance: ExpiresSkewTolerance = None,
    rotate_every: RotateEvery = None,
    rotate_by: RotateBy = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD",
            help="What to take away: description, labels, expires-at, resource-id, storage-account and so on. "
            "May be repeated.",
            show_default=False,
        ),
    ] = None,
    no_verify: NoVerify = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Change what is given of a connector, and keep the rest. Verifies it first; where that fails, nothing is changed.

    A new secret is given whole, and takes the place of the old one; nothing is taken from the environment. Grants stay.
    Where they would come to mean something else, what changes is shown first, and --yes says yes: it needs an admin.
    """
    if authentication_secret is not None:
        raise InvalidArgumentError(_KEEPS_ITS_OWN)
    screen = Screen(as_json=output is OutputFormat.JSON)
    kept = [each for each in label or () if "=" in each]
    notes = notes_of(
        description=description, label=kept, expires_at=expires_at, expires_skew_tolerance=expires_skew_tolerance
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
    gone = [*_removed(remove or ()), *(f"labels.{each}" for each in label or () if "=" not in each)]
    said = merged(options, read_values(values, screen) if values is not None else {})
    asked = bool(said or notes or gone or auth_method or resource_type or resource_id)
    if not (asked or wanted):
        raise InvalidArgumentError("nothing to change; expected at least one option, such as --label")
    said |= read_given(secrets_of(options), screen)
    changes = {
        **notes,
        "auth_method": auth_method.value if auth_method else None,
        "resource_type": resource_type.value if resource_type else None,
        "resource_id": resource_id,
        "azure": {field: value for field, value in said.items() if field not in SECRET_FIELDS},
        "secrets": secrets_of(said),
        "remove": gone,
        "verify": not no_verify,
    }
    with client_of(context, screen) as client:
        _ask(screen, client, name, changes, yes=yes)
        with screen.busy(f"Changing {name}"):
            changed = client.update_connector(name, **changes) if asked else _as_it_is(client, name)
            changed = replace(changed, connector=schedule(client, screen, changed.connector, wanted))
    _show(screen, changed)


def _as_it_is(client: Client, name: str) -> CreatedConnector:
    return CreatedConnector(client.get_connector(name), Resources())


def _ask(screen: Screen, client: Client, name: str, changes: Mapping[str, Any], *, yes: bool) -> None:
    """Shows what grants come to mean where the connector leads elsewhere, and asks."""
    before = client.get_connector(name)
    differing = list(differences(before, changes))
    bound = consequences.of_change(client, before) if differing else ""
    if bound:
        confirm(screen, f"update service connector {name}", f"{'; '.join(differing)}; {bound}", yes=yes, for_good=False)


def differences(before: Connector, changes: Mapping[str, Any]) -> Iterable[str]:
    """Gives what changes of how and where a connector leads, but for its secret."""
    resource_id = changes["resource_id"]
    now = {**connector_json(before)["azure"], "auth_method": before.auth_method, **_served(before)}
    same = ("auth_method", "resource_type", "resource_id")
    asked = {**changes["azure"], **{field: changes[field] for field in same}}
    asked = {field: value for field, value in asked.items() if value} | dict.fromkeys(changes["remove"], "")
    if resource_id and "://" not in resource_id:
        asked["resource_id"] = f"az://{resource_id}"
    for field, value in asked.items():
        if field in now and (now[field] or "") != value:
            none = "all" if field == "resource_type" else "none"
            yield f"{field.replace('_', ' ')} becomes {value or none}, it was {now[field] or none}"


def _served(connector: Connector) -> Mapping[str, str]:
    return {"resource_type": connector.resource_type, "resource_id": connector.resource_id}


def _removed(given: Iterable[str]) -> Iterable[str]:
    """Gives the API's names of what is to be taken away; the broker knows which there are."""
    for text in given:
        group, dot, key = text.strip().partition(".")
        field = group.replace("-", "_").lower()
        if field in SECRET_FIELDS:
            raise InvalidArgumentError(
                f"--remove: {text}: a connector cannot be without its secret; give a new one, or delete the connector"
            )
        yield f"{_REMOVE.get(field, field)}{dot}{key}"


def _show(screen: Screen, changed: CreatedConnector) -> None:
    for warning in changed.warnings:
        screen.warn(warning)
    connector, resources = changed.connector, changed.resources
    if screen.as_json:
        screen.json(created_json(changed))
        return
    if resources or resources.account_errors or resources.checks:
        screen.line(
            f"Successfully updated service connector `{connector.name}` with access to the following resources:"
        )
        print_reached(screen, connector.name, resources, connector.resource_types)
        print_checks(screen, resources.checks)
        screen.note(_FOLLOW)
        return
    screen.line(f"Updated service connector `{connector.name}`{', unverified' if connector.unverified else ''}.")
    if connector.unverified:
        screen.note(f"see whether it works with: valetkey service-connector verify {connector.name}")
