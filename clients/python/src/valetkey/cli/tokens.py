"""`valetkey token`: ask for SAS tokens, once or over and over."""

from typing import Annotated

import typer

from valetkey.cli import token_issuing
from valetkey.cli.global_options import client_of
from valetkey.cli.lifetime_option import parse_life
from valetkey.cli.permission_and_attribute_parsing import PERMISSIONS, parse_permissions
from valetkey.cli.screen import Screen
from valetkey.cli.token_issuing import TokenFormat, TokensWanted, say_if_shorter, show
from valetkey.cli.token_options import Connector, Purpose
from valetkey.cli.token_texts import token_json

app = typer.Typer(help="Issue short-lived SAS tokens.", no_args_is_help=True)


Resource = Annotated[
    str, typer.Option(help="Container, az://…, abfs(s)://…, wasb(s)://… or https://…", show_default=False)
]
Resources = Annotated[
    list[str],
    typer.Option(
        "--resource",
        help="Container, az://CONTAINER/BLOB, az://CONTAINER/DIRECTORY/ (with hierarchical namespace), abfs(s)://…, "
        "wasb(s)://… or https://…; may be repeated, up to 1,000.",
        show_default=False,
    ),
]
Permissions = Annotated[
    list[str],
    typer.Option(help=f"Comma-separated, or repeated: {', '.join(PERMISSIONS)}.", metavar="LIST", show_default=False),
]
SourceIp = Annotated[
    str | None,
    typer.Option(help="IPv4 address or range A-B that alone may use it.", show_default=False),
]
Format = Annotated[
    TokenFormat,
    typer.Option(
        "--output",
        "-o",
        help="How to show it: env is for a shell, url and sas are bare values; a tool's name: what that takes.",
    ),
]


@app.command()
def issue(
    context: typer.Context,
    *,
    resource: Resources,
    permissions: Permissions,
    ttl: Annotated[
        str | None,
        typer.Option(
            help="How long it lives, such as 15m or 1h30m; the broker's default if left out.", show_default=False
        ),
    ] = None,
    connector: Connector = None,
    source_ip: SourceIp = None,
    purpose: Purpose = None,
    output: Format = TokenFormat.TABLE,
) -> None:
    """Issue one SAS token for one resource, or one for each of several, in one call. A grant must allow it.

    Of several, those that are refused are told as errors, and the exit code is that of the first.
    """
    wanted = TokensWanted(
        resource=resource,
        permissions=permissions,
        ttl=ttl,
        connector=connector,
        source_ip=source_ip,
        purpose=purpose,
        output=output,
    )
    if code := token_issuing.issue(context.obj, wanted):
        raise typer.Exit(code)


@app.command()
def watch(
    context: typer.Context,
    *,
    resource: Resource,
    permissions: Permissions,
    ttl: Annotated[
        str | None,
        typer.Option(help="How long each lives; the broker's default if left out.", show_default=False),
    ] = None,
    connector: Connector = None,
    source_ip: SourceIp = None,
    purpose: Purpose = None,
    output: Format = TokenFormat.TABLE,
) -> None:
    """Print a token now and a fresh one ahead of each expiry, until the broker ends it and says why, or Ctrl-C.

    Goes on after restarts of the broker and cuts of the network as long as the last token lives.
    Exit code 3 where the grant, the connector or the caller's identity is gone, 5 where calling again makes sense.
    With -o json, each token is one line.
    """
    screen = Screen(as_json=output is TokenFormat.JSON)
    words = parse_permissions(permissions)
    lifetime = None if ttl is None else parse_life(ttl, "--ttl", screen)
    limited_by = ""
    with client_of(context, screen) as client:
        for token in client.watch_token(
            resource,
            words,
            ttl=lifetime,
            connector=connector,
            source_ip=source_ip,
            purpose=purpose,
        ):
            if token.ttl_limited_by != limited_by:
                limited_by = token.ttl_limited_by
                say_if_shorter(token, lifetime, screen)
            if output is TokenFormat.JSON:
                screen.json_line(token_json(token))
            else:
                show(token, output, screen)
                screen.flush()
