"""`rotate`, of connectors and of named secrets alike."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from valetkey.cli import consequences
from valetkey.cli.auth_methods import ALIASES, SECRET_FIELDS, AuthMethod, check_taken, recognised
from valetkey.cli.automatic_rotation import AtOnce, Auto, By, NoWait, ProveFor, begin_by_itself, proving
from valetkey.cli.confirmation import confirm
from valetkey.cli.connector_draft import config_of, secrets_of
from valetkey.cli.connector_options import RotateBy, RotateEvery, parse_schedule
from valetkey.cli.connector_update import differences
from valetkey.cli.credential_input import read_given, read_missing
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
from valetkey.cli.output_option import Output
from valetkey.cli.rollback_and_versions import name_of
from valetkey.cli.rotation_progress import follow, look, note_end
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.errors import FailedPreconditionError
from valetkey.times import parse_moment
from valetkey.values import Connector

_CONNECTOR, _SECRET = "connector", "secret"

Status = Annotated[bool, typer.Option("--status", help="Show where the rotation stands, or how the last one ended.")]
Abort = Annotated[bool, typer.Option("--abort", help="Take the rotation back, if it has not come to the switch.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
Ends = Annotated[
    str | None,
    typer.Option(help="When the new credential ends: 2027-06-01T00:00:00Z, or 365d.", show_default=False),
]


def rotate_connector(
    context: typer.Context,
    *,
    name: Annotated[str, name_of(_CONNECTOR)],
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
    expires_at: Ends = None,
    auto: Auto = False,
    by: By = None,
    now: AtOnce = False,
    rotate_every: RotateEvery = None,
    rotate_by: RotateBy = None,
    prove_for: ProveFor = None,
    no_wait: NoWait = False,
    status: Status = False,
    abort: Abort = False,
    yes: Yes = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a connector another credential while it is in use: it is proved first, and the one before is kept.

    What is secret is given as @FILE, or as - for standard input. Left out, it is taken from the environment, else asked
    for without showing it. Any auth method will do. Grants, streams and tokens that are out go on. With --auto the
    broker has Azure make the new one, and removes there what it made before.
    """
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
    given = bool(options or values or auth_method)
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        if status or abort:
            look(screen, client, name, _CONNECTOR, abort=abort, others=given or (status and abort))
            return
        given = given or bool(expires_at)
        asked: dict[str, Any] = {
            "auto": auto,
            "by": by,
            "at_once": now,
            "schedule": parse_schedule(rotate_every, rotate_by),
        }
        if begin_by_itself(
            screen, client, name, _CONNECTOR, **asked, others=given, prove_for=prove_for, wait=not no_wait
        ):
            return
        before = client.get_connector(name)
        if before.authentication_secret:
            raise FailedPreconditionError(
                f"connector {name} uses the secret {before.authentication_secret}; expected: valetkey secret rotate "
                f"{before.authentication_secret}, and all that use it follow"
            )
        there = AuthMethod(before.auth_method)
        wanted = {**_wanted(screen, options, values, auth_method, there), **_ending(expires_at)}
        _ask(screen, client, before, wanted, yes=yes)
        begun = client.rotate_credential(name, **wanted, **proving(prove_for))
        note_end(screen, client, follow(screen, client, begun, wait=not no_wait), before.expire_time, expires_at)


def rotate_secret(
    context: typer.Context,
    *,
    name: Annotated[str, name_of(_SECRET)],
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
    expires_at: Ends = None,
    auto: Auto = False,
    by: By = None,
    now: AtOnce = False,
    rotate_every: RotateEvery = None,
    rotate_by: RotateBy = None,
    prove_for: ProveFor = None,
    no_wait: NoWait = False,
    status: Status = False,
    abort: Abort = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a secret another value while it is in use: it is proved with every connector that uses it, and all follow.

    What is secret is given as @FILE, or as - for standard input. Left out, it is taken from the environment, else asked
    for without showing it. The value before is kept. With --auto the broker has Azure make the new one, and removes
    there what it made before.
    """
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
    given = bool(options or values or auth_method)
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        if status or abort:
            look(screen, client, name, _SECRET, abort=abort, others=given or (status and abort))
            return
        given = given or bool(expires_at)
        schedule = parse_schedule(rotate_every, rotate_by)
        asked: dict[str, Any] = {"auto": auto, "by": by, "at_once": now, "schedule": schedule}
        if begin_by_itself(screen, client, name, _SECRET, **asked, others=given, prove_for=prove_for, wait=not no_wait):
            return
        before = client.get_secret(name)
        there = AuthMethod(before.auth_method)
        wanted = {**_wanted(screen, options, values, auth_method, there), **_ending(expires_at)}
        begun = client.rotate_credential(name, holder=_SECRET, **wanted, **proving(prove_for))
        note_end(screen, client, follow(screen, client, begun, wait=not no_wait), before.expire_time, expires_at)


def _wanted(
    screen: Screen, options: Mapping[str, str], values: str | None, chosen: AuthMethod | None, there: AuthMethod
) -> dict[str, Any]:
    """Returns what is given for a rotation, as the client takes it; asks for the secret where it is not given."""
    noted = read_values(values, screen) if values is not None else {}
    said = merged({**options, **read_given(secrets_of(options), screen)}, noted)
    method = chosen or recognised(said) or there
    check_taken(method, said)
    config = {ALIASES.get(field, field): value for field, value in config_of(said).items()}
    return {
        "auth_method": method.value if method is not there else None,
        "azure": {field: value for field, value in config.items() if field not in SECRET_FIELDS},
        "secrets": read_missing(method, secrets_of(said), screen),
    }


def _ask(screen: Screen, client: Client, before: Connector, wanted: Mapping[str, Any], *, yes: bool) -> None:
    """Shows what grants come to mean where the connector leads elsewhere, and asks."""
    changes = {"resource_type": None, "resource_id": None, "remove": (), **wanted}
    differing = list(differences(before, changes))
    bound = consequences.of_change(client, before) if differing else ""
    if bound:
        confirm(
            screen,
            f"rotate service connector {before.name}",
            f"{'; '.join(differing)}; {bound}",
            yes=yes,
            for_good=False,
        )


def _ending(given: str | None) -> dict[str, Any]:
    return {} if given is None else {"expire_time": parse_moment(given, "--expires-at", ago=False)}
