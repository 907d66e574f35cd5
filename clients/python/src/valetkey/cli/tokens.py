"""`valetkey token`: ask for SAS tokens."""

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from valetkey import convert
from valetkey.cli.durations import parse_life
from valetkey.cli.screen import Screen
from valetkey.cli.session import client_of
from valetkey.cli.times import utc
from valetkey.errors import InvalidArgumentError
from valetkey.values import Token

app = typer.Typer(help="Issue short-lived SAS tokens.", no_args_is_help=True)

_PERMISSIONS = convert.choices(convert.PERMISSION)


class TokenFormat(StrEnum):
    """How a token is shown."""

    TABLE = "table"
    JSON = "json"
    ENV = "env"
    URL = "url"
    SAS = "sas"


@app.callback()
def tokens() -> None:
    """Makes `token` a group of commands even while there is one."""


@app.command()
def issue(
    context: typer.Context,
    *,
    resource: Annotated[
        str,
        typer.Option(help="Container, az://…, abfs[s]://… or https://…", show_default=False),
    ],
    permissions: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(_PERMISSIONS)}.", show_default=False)],
    ttl: Annotated[
        str | None,
        typer.Option(
            help="How long it lives, such as 15m or 1h30m; the broker's default if left out.", show_default=False
        ),
    ] = None,
    connector: Annotated[
        str | None,
        typer.Option(help="Connector to use; needed where several serve the resource.", show_default=False),
    ] = None,
    source_ip: Annotated[
        str | None,
        typer.Option(help="IPv4 address or range A-B that alone may use it.", show_default=False),
    ] = None,
    output: Annotated[
        TokenFormat,
        typer.Option("--output", "-o", help="How to show it: env is for a shell, url and sas are the bare values."),
    ] = TokenFormat.TABLE,
) -> None:
    """Issue one SAS token for one resource."""
    screen = Screen(as_json=output is TokenFormat.JSON)
    words = _permissions(permissions)
    lifetime = None if ttl is None else parse_life(ttl, "--ttl", screen)
    with client_of(context, screen) as client:
        token = client.issue_token(resource, words, ttl=lifetime, connector=connector, source_ip=source_ip)
    _print(token, output, screen)


def _permissions(text: str) -> list[str]:
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in _PERMISSIONS]
    if unknown or not words:
        problem = f"{unknown[0]!r} is unknown" if unknown else "none given"
        raise InvalidArgumentError(
            f"--permissions: {problem}; expected some of {', '.join(_PERMISSIONS)}, "
            "with commas between them and no spaces: read,list"
        )
    return words


def _print(token: Token, output: TokenFormat, screen: Screen) -> None:
    match output:
        case TokenFormat.JSON:
            screen.json(
                {
                    "lease_id": token.lease_id,
                    "sas_token": token.sas_token,
                    "sas_url": token.sas_url,
                    "resource_id": token.resource.resource_id,
                    "account": token.resource.account,
                    "url": token.resource.url,
                    "permissions": list(token.permissions),
                    "start_time": utc(token.start_time),
                    "expire_time": utc(token.expire_time),
                    "connector": token.connector,
                    "credential_version": token.credential_version,
                }
            )
        case TokenFormat.ENV:
            for name, value in (
                ("AZURE_STORAGE_ACCOUNT", token.resource.account),
                ("AZURE_STORAGE_SAS_TOKEN", token.sas_token),
                ("VALETKEY_TOKEN_EXPIRES", utc(token.expire_time)),
            ):
                screen.line(f"export {name}={shlex.quote(value)}")
        case TokenFormat.URL:
            screen.line(token.sas_url)
        case TokenFormat.SAS:
            screen.line(token.sas_token)
        case TokenFormat.TABLE:
            screen.properties(
                [
                    ("lease id", token.lease_id),
                    ("resource name", token.resource.resource_id),
                    ("url", token.resource.url),
                    ("permissions", ", ".join(token.permissions)),
                    ("valid from", utc(token.start_time)),
                    ("expires", utc(token.expire_time)),
                    ("connector", token.connector),
                ]
            )
            # Outside the table, so that it can be copied in one piece.
            screen.line(token.sas_token)
