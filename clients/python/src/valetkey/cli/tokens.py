"""`valetkey token`: ask for SAS tokens, once or over and over."""

import os
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from valetkey.calls.tokens import TokenRequest
from valetkey.cli import failures
from valetkey.cli.azure_environment import environment_that_wins
from valetkey.cli.durations import parse_life
from valetkey.cli.lists import PERMISSIONS, parse_permissions
from valetkey.cli.option_choices import TTL_LIMITS
from valetkey.cli.screen import Screen
from valetkey.cli.session import client_of
from valetkey.cli.times import utc
from valetkey.cli.token_options import Connector, Purpose
from valetkey.cli.token_texts import token_json, token_text
from valetkey.cli.tool_access import FORMS
from valetkey.errors import InvalidArgumentError, ValetKeyError
from valetkey.values import Token

_OF_ONE = ("sas", *FORMS)

app = typer.Typer(help="Issue short-lived SAS tokens.", no_args_is_help=True)


class TokenFormat(StrEnum):
    """How a token is shown."""

    TABLE = "table"
    JSON = "json"
    ENV = "env"
    URL = "url"
    SAS = "sas"
    AZCOPY = "azcopy"
    RCLONE = "rclone"
    RCLONE_CONF = "rclone-conf"
    DUCKDB = "duckdb"
    CURL = "curl"


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
    if len(resource) > 1 and output in _OF_ONE:
        raise InvalidArgumentError(f"--output: {output} is for one token; expected table, json or url for several")
    screen = Screen(as_json=output is TokenFormat.JSON)
    words = parse_permissions(permissions)
    lifetime = None if ttl is None else parse_life(ttl, "--ttl", screen)
    requests = [
        TokenRequest(
            resource=each,
            permissions=words,
            ttl=lifetime,
            connector=connector,
            source_ip=source_ip,
            purpose=purpose,
        )
        for each in resource
    ]
    if len(requests) > 1:
        with client_of(context, screen) as client:
            outcomes = client.issue_tokens(requests)
        if code := _show_many(resource, outcomes, lifetime, output, screen):
            raise typer.Exit(code)
        return
    with client_of(context, screen) as client:
        token = client.issue_token(
            resource[0], words, ttl=lifetime, connector=connector, source_ip=source_ip, purpose=purpose
        )
    _say_if_shorter(token, lifetime, screen)
    if output is TokenFormat.JSON:
        screen.json(token_json(token))
    else:
        _print(token, output, screen)


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
                _say_if_shorter(token, lifetime, screen)
            if output is TokenFormat.JSON:
                screen.json_line(token_json(token))
            else:
                _print(token, output, screen)
                screen.flush()


def _show_many(
    asked: Sequence[str],
    outcomes: Sequence[Token | ValetKeyError],
    lifetime: timedelta | None,
    output: TokenFormat,
    screen: Screen,
) -> int:
    """Shows tokens, and the errors of those that were not issued; returns the exit code of the first of these."""
    tokens = [outcome for outcome in outcomes if isinstance(outcome, Token)]
    if shorter := next((token for token in tokens if token.ttl_limited_by), None):
        _say_if_shorter(shorter, lifetime, screen)
    if output is TokenFormat.JSON:
        screen.json(
            [
                token_json(outcome)
                if isinstance(outcome, Token)
                else {"resource_id": resource, "error": failures.as_json(outcome)}
                for resource, outcome in zip(asked, outcomes, strict=True)
            ]
        )
    else:
        if output is TokenFormat.TABLE and tokens:
            screen.table(
                ["RESOURCE", "LEASE ID", "EXPIRES", "CONNECTOR", "GRANT"],
                [
                    [token.resource.resource_id, token.lease_id, utc(token.expire_time), token.connector, token.grant]
                    for token in tokens
                ],
                rules=False,
            )
        for token in tokens:
            screen.line(token.sas_url)
        for resource, outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, ValetKeyError):
                screen.error(f"{resource}: {outcome.message}", failures.facts(outcome), failures.as_json(outcome))
    return next((failures.exit_code(each) for each in outcomes if isinstance(each, ValetKeyError)), 0)


def _say_if_shorter(token: Token, asked: timedelta | None, screen: Screen) -> None:
    """Notes why a token ends earlier than was asked for; who asked for nothing misses nothing."""
    if asked is not None and token.ttl_limited_by:
        why = TTL_LIMITS.get(token.ttl_limited_by, token.ttl_limited_by)
        screen.note(f"--ttl: the token ends earlier than asked, at {utc(token.expire_time)}: {why}")


def _print(token: Token, output: TokenFormat, screen: Screen) -> None:
    match output:
        case TokenFormat.AZCOPY | TokenFormat.RCLONE | TokenFormat.RCLONE_CONF | TokenFormat.DUCKDB | TokenFormat.CURL:
            screen.line(token_text(token, output))
            if output is TokenFormat.AZCOPY:
                screen.note("azcopy takes the token on its command line only, where users of this machine can see it")
        case TokenFormat.ENV:
            screen.line(token_text(token, output))
            if others := environment_that_wins(os.environ):
                screen.warn(others)
        case TokenFormat.URL | TokenFormat.SAS:
            screen.line(token_text(token, output))
        case _:
            screen.properties(
                [
                    ("lease id", token.lease_id),
                    ("resource name", token.resource.resource_id),
                    ("url", token.resource.url),
                    ("permissions", ", ".join(token.permissions)),
                    ("valid from", utc(token.start_time)),
                    ("expires", utc(token.expire_time)),
                    ("connector", token.connector),
                    ("grant", token.grant),
                ]
            )
            # Outside the table, so that it can be copied in one piece.
            screen.line(token.sas_token)
