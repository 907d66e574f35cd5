"""`rollback` and `list-versions`, of connectors and of named secrets alike."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from valetkey.cli.automatic_rotation import NoWait, proving
from valetkey.cli.confirmation import confirm
from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.rotation_progress import follow
from valetkey.cli.rotation_views import print_versions, version_json
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.errors import InvalidArgumentError, NotFoundError
from valetkey.rotation_values import CredentialVersion
from valetkey.times import utc


def name_of(holder: str) -> Any:
    """Returns the argument NAME of a command about a connector or a secret."""
    return typer.Argument(metavar="NAME", help=f"Name of the {holder}.", show_default=False)


def rollback_of(holder: str) -> Callable[..., None]:
    """Returns the command `rollback` for connectors or for secrets."""

    def rollback(
        context: typer.Context,
        *,
        name: Annotated[str, name_of(holder)],
        version: Annotated[
            int, typer.Option(help="Version to go back to; the one before, if left out.", show_default=False)
        ] = 0,
        prove_for: Annotated[
            str | None,
            typer.Option(
                help="How long it is tried until it works, such as 10m; once if left out, at most 1h.",
                show_default=False,
            ),
        ] = None,
        no_wait: NoWait = False,
        yes: Annotated[
            bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")
        ] = False,
        output: Output = OutputFormat.TABLE,
    ) -> None:
        screen = Screen(as_json=output is OutputFormat.JSON)
        with client_of(context, screen) as client:
            kept = _kept(client, name, holder)
            if not version and kept is not None:
                _ask_of_undoing(screen, client, name, holder, kept, yes=yes)
            begun = client.rollback_credential(name, holder=holder, version=version, **proving(prove_for))
            follow(screen, client, begun, wait=not no_wait, back_to=kept.version if kept is not None else 0)

    rollback.__doc__ = (
        f"Give a {holder} the credential back that it had before: it is proved as any other, and becomes a new "
        "version. Asks before it takes back another rollback, unless --version names the version."
    )
    return rollback


def list_versions_of(holder: str) -> Callable[..., None]:
    """Returns the command `list-versions` for connectors or for secrets."""

    def list_versions(
        context: typer.Context, name: Annotated[str, name_of(holder)], output: Output = OutputFormat.TABLE
    ) -> None:
        screen = Screen(as_json=output is OutputFormat.JSON)
        with client_of(context, screen) as client:
            versions = client.list_credential_versions(name, holder=holder)
        if screen.as_json:
            screen.json([version_json(version) for version in versions])
        else:
            print_versions(screen, versions)

    list_versions.__doc__ = (
        f"List the versions of a {holder}'s credential that are kept: the one in use, the one before."
    )
    return list_versions


def _kept(client: Client, name: str, holder: str) -> CredentialVersion | None:
    try:
        versions = client.list_credential_versions(name, holder=holder)
    except InvalidArgumentError:  # The broker says what is wrong when it is asked to roll back, and how to do that.
        return None
    return next((each for each in versions if not each.in_use), None)


def _ask_of_undoing(
    screen: Screen, client: Client, name: str, holder: str, kept: CredentialVersion, *, yes: bool
) -> None:
    """Asks where the version before is the one that was rolled away from last: it would come into use again."""
    try:
        last = client.get_rotation(name, holder=holder)
    except NotFoundError:
        return
    if last.source == "rollback" and last.state == "done" and last.from_version == kept.version:
        what = f"version {kept.version} is what was rolled away from at {utc(last.update_time)}, by {last.started_by}"
        confirm(screen, f"bring version {kept.version} of {holder} {name} back into use", what, yes=yes, for_good=False)
