"""What `valetkey token issue` does once its line is read; nothing here loads Typer, nor Rich unless it draws."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from valetkey.calls.tokens import TokenRequest
from valetkey.cli import error_output
from valetkey.cli.global_options import GlobalOptions, client_for
from valetkey.cli.lifetime_option import parse_life
from valetkey.cli.option_choices import TTL_LIMITS
from valetkey.cli.overriding_variables import environment_that_wins
from valetkey.cli.permission_and_attribute_parsing import parse_permissions
from valetkey.cli.screen import Screen
from valetkey.cli.token_texts import token_json, token_text
from valetkey.cli.tool_access import FORMS
from valetkey.errors import InvalidArgumentError, ValetKeyError
from valetkey.times import utc
from valetkey.token_values import Token

_OF_ONE = ("sas", *FORMS)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensWanted:
    """The options of `token issue` as they were typed."""

    resource: Sequence[str]
    permissions: Sequence[str]
    ttl: str | None = None
    connector: str | None = None
    source_ip: str | None = None
    purpose: str | None = None
    output: TokenFormat = TokenFormat.TABLE


def issue(given: GlobalOptions, wanted: TokensWanted) -> int:
    """Issues the tokens and shows them; returns the exit code. Raises ValetKeyError where there is none to show."""
    output = wanted.output
    if len(wanted.resource) > 1 and output in _OF_ONE:
        raise InvalidArgumentError(f"--output: {output} is for one token; expected table, json or url for several")
    screen = Screen(as_json=output is TokenFormat.JSON)
    words = parse_permissions(wanted.permissions)
    lifetime = None if wanted.ttl is None else parse_life(wanted.ttl, "--ttl", screen)
    requests = [
        TokenRequest(
            resource=each,
            permissions=words,
            ttl=lifetime,
            connector=wanted.connector,
            source_ip=wanted.source_ip,
            purpose=wanted.purpose,
        )
        for each in wanted.resource
    ]
    with client_for(given, screen) as client:
        if len(requests) > 1:
            return _show_many(wanted.resource, client.issue_tokens(requests), lifetime, output, screen)
        token = client.issue_token(
            wanted.resource[0],
            words,
            ttl=lifetime,
            connector=wanted.connector,
            source_ip=wanted.source_ip,
            purpose=wanted.purpose,
        )
    say_if_shorter(token, lifetime, screen)
    if output is TokenFormat.JSON:
        screen.json(token_json(token))
    else:
        show(token, output, screen)
    return 0


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
        say_if_shorter(shorter, lifetime, screen)
    if output is TokenFormat.JSON:
        screen.json(
            [
                token_json(outcome)
                if isinstance(outcome, Token)
                else {"resource_id": resource, "error": error_output.as_json(outcome)}
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
                screen.error(
                    f"{resource}: {outcome.message}", error_output.facts(outcome), error_output.as_json(outcome)
                )
    return next((error_output.exit_code(each) for each in outcomes if isinstance(each, ValetKeyError)), 0)


def say_if_shorter(token: Token, asked: timedelta | None, screen: Screen) -> None:
    """Notes why a token ends earlier than was asked for; who asked for nothing misses nothing."""
    if asked is not None and token.ttl_limited_by:
        why = TTL_LIMITS.get(token.ttl_limited_by, token.ttl_limited_by)
        screen.note(f"--ttl: the token ends earlier than asked, at {utc(token.expire_time)}: {why}")


def show(token: Token, output: TokenFormat, screen: Screen) -> None:
    """Shows one token in any form but JSON."""
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
