"""`valetkey grant`: say who may have what, and why somebody may or may not."""

import contextlib
from dataclasses import replace
from typing import Annotated

import typer

from valetkey.cli import consequences, error_output
from valetkey.cli.confirmation import confirm
from valetkey.cli.global_options import client_of
from valetkey.cli.grant_options import (
    Attributes,
    Connectors,
    Containers,
    Expires,
    Labels,
    MaxTtl,
    Note,
    Permissions,
    Prefixes,
    Principals,
    Role,
    SomeConnectors,
    SomeContainers,
    SomePrincipals,
    SourceIp,
    changes_of,
)
from valetkey.cli.grant_views import (
    explanation_json,
    grant_json,
    next_step,
    print_explanation,
    print_grant,
    print_grants,
)
from valetkey.cli.lifetime_option import parse_life
from valetkey.cli.output_option import Output
from valetkey.cli.permission_and_attribute_parsing import PERMISSIONS, parse_attributes, parse_permissions
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.errors import ConflictError, InvalidArgumentError, ValetKeyError
from valetkey.values import Grant, GrantSpec

app = typer.Typer(help="Say who may have what, and see why.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the grant.", show_default=False)]


@app.command()
def create(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="1 to 63 lower-case letters, digits, inner hyphens.", show_default=False),
    ],
    principal: Principals,
    connector: Connectors,
    container: Containers,
    prefix: Prefixes = None,
    permissions: Permissions = None,
    role: Role = None,
    attribute: Attributes = None,
    max_ttl: MaxTtl = None,
    source_ip: SourceIp = None,
    expires: Expires = None,
    note: Note = None,
    label: Labels = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Let principals have containers of connectors, with --permissions or those of a --role."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    if not permissions and role is None:
        raise InvalidArgumentError("no permissions; expected --permissions such as read,list, or --role")
    changes = changes_of(
        principal=principal,
        connector=connector,
        container=container,
        prefix=prefix,
        permissions=permissions,
        role=role,
        attribute=attribute,
        max_ttl=max_ttl,
        source_ip=source_ip,
        expires=expires,
        note=note,
        label=label,
    )
    with client_of(context, screen) as client:
        grant = client.create_grant(name, GrantSpec(**changes))
    _show(screen, grant)


@app.command("list")
def list_(context: typer.Context, output: Output = OutputFormat.TABLE) -> None:
    """List the grants, by name."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        grants = client.list_grants()
    if screen.as_json:
        screen.json([grant_json(grant) for grant in grants])
    else:
        print_grants(screen, grants)


@app.command()
def describe(context: typer.Context, name: Name, output: Output = OutputFormat.TABLE) -> None:
    """Show one grant."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        grant = client.get_grant(name)
    _show(screen, grant)


@app.command()
def update(
    context: typer.Context,
    *,
    name: Name,
    principal: SomePrincipals = None,
    connector: SomeConnectors = None,
    container: SomeContainers = None,
    prefix: Prefixes = None,
    permissions: Permissions = None,
    role: Role = None,
    attribute: Attributes = None,
    max_ttl: MaxTtl = None,
    source_ip: SourceIp = None,
    expires: Expires = None,
    note: Note = None,
    label: Labels = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Change what is given, keep the rest. A list that is given replaces the whole old one.

    --prefix "", --attribute "", --label "", --source-ip "", --note "", --max-ttl none and --expires never take away
    what is there.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    changes = changes_of(
        principal=principal,
        connector=connector,
        container=container,
        prefix=prefix,
        permissions=permissions,
        role=role,
        attribute=attribute,
        max_ttl=max_ttl,
        source_ip=source_ip,
        expires=expires,
        note=note,
        label=label,
    )
    if not changes:
        raise InvalidArgumentError("nothing to change; expected at least one option, such as --note")
    with client_of(context, screen) as client:
        before = client.get_grant(name)
        try:
            grant = client.update_grant(name, replace(before.spec, **changes), version=before.version)
        except ConflictError as error:
            raise ConflictError(
                f"grant {name} was changed in the meantime, and nothing was changed now; "
                f"look at it with: valetkey grant describe {name}, then try again",
                reason=error.reason,
                code=error.code,
                metadata=error.metadata,
                request_id=error.request_id,
                retry_delay=error.retry_delay,
            ) from None
    _show(screen, grant)


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Delete a grant. Says what goes along with it, and asks; --yes says yes."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        confirm(screen, f"delete grant {name}", consequences.of_grant(client, name), yes=yes)
        client.delete_grant(name)
    if screen.as_json:
        screen.json({"deleted": name})
    else:
        screen.line(f"Deleted grant `{name}`.")
        screen.note(consequences.REMOVED)


@app.command()
def explain(
    context: typer.Context,
    *,
    resource: Annotated[
        str,
        typer.Option(
            help="Container, az://CONTAINER, az://CONTAINER/BLOB, az://CONTAINER/DIRECTORY/ or a full URL.",
            show_default=False,
        ),
    ],
    permissions: Annotated[
        list[str],
        typer.Option(
            help=f"Comma-separated, or repeated: {', '.join(PERMISSIONS)}.", metavar="LIST", show_default=False
        ),
    ],
    principal: Annotated[
        str | None, typer.Option(help="Who would ask, such as key:trainer; you, if left out.", show_default=False)
    ] = None,
    connector: Annotated[
        str | None, typer.Option(help="Connector to use; all if left out.", show_default=False)
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Attribute the principal would have; may be repeated.", show_default=False
        ),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(help="How long the token should live; the broker's default if left out.", show_default=False),
    ] = None,
    source_ip: Annotated[
        str | None, typer.Option(help="IPv4 address or range A-B the token would be bound to.", show_default=False)
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say which grant allows a request, or why none does and what would work. Exit code 0 if allowed, 3 if not."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    words = parse_permissions(permissions)
    attributes = parse_attributes(attribute or [])
    lifetime = None if ttl is None else parse_life(ttl, "--ttl", screen)
    with client_of(context, screen) as client:
        found = client.explain_access(
            resource,
            words,
            principal=principal,
            attributes=attributes,
            connector=connector,
            ttl=lifetime,
            source_ip=source_ip,
        )
        no_grant = not found.allowed and not found.error_message
        caller = None
        if no_grant and not screen.as_json:
            with contextlib.suppress(ValetKeyError):  # Who asks decides on the next step only; the answer is there.
                caller = client.who_am_i()
    if screen.as_json:
        screen.json(explanation_json(found))
    else:
        print_explanation(screen, found)
    if caller is not None:
        screen.note(next_step(caller, principal=principal, resource=resource, permissions=words, connector=connector))
    if not found.allowed:
        raise typer.Exit(error_output.NOT_PERMITTED)


def _show(screen: Screen, grant: Grant) -> None:
    for warning in grant.warnings:
        screen.warn(warning)
    if screen.as_json:
        screen.json(grant_json(grant))
    else:
        print_grant(screen, grant)
