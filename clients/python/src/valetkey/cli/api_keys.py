"""`valetkey api-key`: admit, list and revoke API keys."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from valetkey.api_keys import api_key_sha256, generate_api_key
from valetkey.cli import consequences
from valetkey.cli.durations import parse_life
from valetkey.cli.option_choices import Role
from valetkey.cli.screen import Output, OutputFormat, Screen
from valetkey.cli.session import client_of, confirm
from valetkey.cli.times import utc
from valetkey.client import Client
from valetkey.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError, ValetKeyError
from valetkey.values import ApiKey

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.", show_default=False)]


@app.command()
def create(
    context: typer.Context,
    *,
    name: Name,
    role: Annotated[
        list[Role] | None,
        typer.Option(
            help="What its holder may call; may be repeated. None for a stack component, which lives by grants.",
            show_default=False,
        ),
    ] = None,
    ttl: Annotated[str, typer.Option(help="How long the key lives; at most 366d.")] = "90d",
    out: Annotated[
        Path | None,
        typer.Option(help="Write the key into this new file, mode 0600, instead of printing it.", show_default=False),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make a key here and have the broker admit it. The broker gets its SHA-256, and the key is shown once."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    expire_time = _expiry(ttl, screen)
    with client_of(context, screen) as client:
        key = generate_api_key()
        if out:
            _write_new(out, key)
        created = _admit(client, name, roles=role or [], key=key, expire_time=expire_time, out=out)
    if screen.as_json:
        screen.json({**_json(created), **({"api_key_file": str(out)} if out else {"api_key": key})})
        return
    screen.properties(
        [
            ("name", created.name),
            ("roles", ", ".join(created.roles)),
            ("principal", f"key:{created.name}"),
            ("expires", utc(created.expire_time)),
            ("file", str(out or "")),
        ]
    )
    if not created.roles:
        screen.note(f"it has no role and gets what grants say: valetkey grant create … --principal key:{created.name}")
    if not out:
        screen.note("the key is shown this once; nobody, the broker included, can show it again")
        screen.line(key)


@app.command("list")
def list_(context: typer.Context, output: Output = OutputFormat.TABLE) -> None:
    """List the API keys, by name."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        keys = client.list_api_keys()
    if screen.as_json:
        screen.json([_json(key) for key in keys])
        return
    screen.table(
        ["NAME", "ROLES", "EXPIRES", "CREATED", "CREATED BY"],
        [
            [
                key.name,
                ", ".join(key.roles),
                utc(key.expire_time),
                utc(key.create_time),
                key.created_by,
            ]
            for key in keys
        ],
    )


@app.command()
def revoke(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Revoke an API key for good. Says what goes along with it, and asks; --yes says yes."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        confirm(screen, f"revoke API key {name}", consequences.of_api_key(client, name), yes=yes)
        client.revoke_api_key(name)
    if screen.as_json:
        screen.json({"revoked": name})
    else:
        screen.line(f"Revoked API key `{name}`.")
        screen.note(consequences.REMOVED)


def _expiry(ttl: str, screen: Screen) -> datetime:
    try:
        return datetime.now(UTC) + parse_life(ttl, "--ttl", screen)
    except OverflowError:
        raise InvalidArgumentError(f"--ttl: {ttl} ends after the year 9999; expected at most 366d") from None


def _admit(
    client: Client,
    name: str,
    *,
    roles: list[Role],
    key: str,
    expire_time: datetime,
    out: Path | None,
) -> ApiKey:
    try:
        return client.create_api_key(
            name,
            roles=[role.value for role in roles],
            key_sha256=api_key_sha256(key),
            expire_time=expire_time,
        )
    except ValetKeyError as error:
        # After no answer the broker may have admitted the key all the same: then the file is worth keeping.
        if out and not isinstance(error, (UnavailableError, DeadlineExceededError)):
            out.unlink(missing_ok=True)
        raise


def _write_new(path: Path, key: str) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidArgumentError(f"--out: {path} exists; expected the name of a new file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidArgumentError(f"--out: {path} cannot be written: {reason}") from None
    try:
        with os.fdopen(file, "w", encoding="ascii") as opened:
            opened.write(f"{key}\n")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InvalidArgumentError(f"--out: {path} cannot be written: {error.strerror}") from None


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.uid,
        "roles": list(key.roles),
        "expire_time": utc(key.expire_time),
        "create_time": utc(key.create_time),
        "created_by": key.created_by,
    }
