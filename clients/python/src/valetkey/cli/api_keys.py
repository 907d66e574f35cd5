"""`valetkey api-key`: admit, list, rotate and revoke API keys."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from valetkey.api_keys import api_key_sha256, generate_api_key
from valetkey.cli import consequences
from valetkey.cli.api_key_files import check_is_key_of, file_meant, put_in_place, write_new
from valetkey.cli.confirmation import confirm
from valetkey.cli.global_options import client_of
from valetkey.cli.lifetime_option import parse_life
from valetkey.cli.option_choices import Role
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError, ValetKeyError
from valetkey.times import utc
from valetkey.values import ApiKey

app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)

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
            write_new("--out", out, key)

        def admit() -> ApiKey:
            return client.create_api_key(
                name,
                roles=[each.value for each in role or []],
                key_sha256=api_key_sha256(key),
                expire_time=expire_time,
            )

        created = _with_file(admit, out, screen)
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
        _show_once(screen, key)


@app.command()
def rotate(
    context: typer.Context,
    *,
    name: Name,
    overlap: Annotated[
        str, typer.Option(help="How long the key of before stays good, such as 1h or 2d; 0s ends it now.")
    ] = "1h",
    ttl: Annotated[
        str | None,
        typer.Option(
            help="How long the key lives from now on; at most 366d. As long again as it was given last, if left out.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the key into this new file, mode 0600, instead of printing it.", show_default=False),
    ] = None,
    replace: Annotated[
        Path | None,
        typer.Option(
            help="Put the key into this file, in place of this key's secret of before, once the broker has admitted "
            "it; for the same owner, and the same group if that may read it.",
            show_default=False,
        ),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a key another secret, made here: same name, roles and grants. What it was before ends after the overlap.

    Hand the new key to whoever uses it while both are good; then the old one ends by itself, on every replica, and so
    do calls and streams of tokens with it. Rotated again meanwhile, nothing of before outlives the new overlap.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    span = parse_life(overlap, "--overlap", screen)
    expire_time = _expiry(ttl, screen) if ttl is not None else None
    if out and replace:
        raise InvalidArgumentError("--out and --replace: expected one of the two")
    with client_of(context, screen) as client:
        if replace:
            replace = file_meant(replace)
            check_is_key_of(context, replace, name)
        key = generate_api_key()
        file = _written(out, replace, key)

        def change() -> ApiKey:
            return client.rotate_api_key(name, key_sha256=api_key_sha256(key), overlap=span, expire_time=expire_time)

        rotated = _with_file(change, file, screen, key)
        if replace and file:
            file = put_in_place(file, replace)
    if screen.as_json:
        screen.json({**_json(rotated), **({"api_key_file": str(file)} if file else {"api_key": key})})
        return
    before = rotated.overlap_end_time
    screen.properties(
        [
            ("name", rotated.name),
            ("roles", ", ".join(rotated.roles)),
            ("principal", f"key:{rotated.name}"),
            ("expires", utc(rotated.expire_time)),
            ("key of before", f"good until {utc(before)}" if before else "ended"),
            ("file", str(file or "")),
        ]
    )
    if not file:
        _show_once(screen, key)


@app.command("list")
def list_(context: typer.Context, output: Output = OutputFormat.TABLE) -> None:
    """List the API keys, by name."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        keys = client.list_api_keys()
    if screen.as_json:
        screen.json([_json(key) for key in keys])
        return
    rotated = any(key.rotate_time for key in keys)  # Most keys never are: then nobody needs the columns.
    screen.table(
        ["NAME", "ROLES", "EXPIRES", "CREATED", "CREATED BY", *(["ROTATED", "KEY OF BEFORE ENDS"] if rotated else [])],
        [
            [
                key.name,
                ", ".join(key.roles),
                utc(key.expire_time),
                utc(key.create_time),
                key.created_by,
                *([_moment(key.rotate_time), _moment(key.overlap_end_time)] if rotated else []),
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


def _with_file(change: Callable[[], ApiKey], file: Path | None, screen: Screen, key: str = "") -> ApiKey:
    """Makes a change; where it fails takes the key's file away. `key` is to be shown if nobody knows how it ended."""
    try:
        return change()
    except ValetKeyError as error:
        # After no answer the broker may have admitted the key all the same: then it is worth keeping.
        if not isinstance(error, (UnavailableError, DeadlineExceededError)):
            if file:
                file.unlink(missing_ok=True)
        elif file:
            screen.note(f"whether the broker has the new key is not known; it is kept in {file}")
        elif key and not screen.as_json:
            screen.note("whether the broker has the new key is not known; keep it until `api-key list` tells")
            screen.line(key)
        raise


def _show_once(screen: Screen, key: str) -> None:
    screen.note("the key is shown this once; nobody, the broker included, can show it again")
    screen.line(key)


def _written(out: Path | None, replace: Path | None, key: str) -> Path | None:
    """Returns the new file that the key is in until the broker has admitted it, None where it is to be shown."""
    if out:
        write_new("--out", out, key)
        return out
    if replace is None:
        return None
    beside = replace.with_name(f"{replace.name}.new")
    write_new("--replace", beside, key, like=replace)
    return beside


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.uid,
        "roles": list(key.roles),
        "expire_time": utc(key.expire_time),
        "create_time": utc(key.create_time),
        "created_by": key.created_by,
        **({"rotate_time": utc(key.rotate_time), "rotated_by": key.rotated_by} if key.rotate_time else {}),
        **({"overlap_end_time": utc(key.overlap_end_time)} if key.overlap_end_time else {}),
    }


def _moment(moment: datetime | None) -> str:
    return utc(moment) if moment else ""
