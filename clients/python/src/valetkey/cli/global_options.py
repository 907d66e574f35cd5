"""What the global options say, and the client that commands make by them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.durations import parse_duration
from valetkey.errors import ValetKeyError
from valetkey.identity import Identity
from valetkey.settings import Settings, load_place, load_settings

if TYPE_CHECKING:
    import typer

# Every client of this process: one that nothing holds is collected, and its channel closed with it (see client_of).
KEPT: list[object] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """The global options of one run."""

    endpoint: str | None = None
    ca_file: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_file: str | None = None
    token_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    config: str | None = None
    timeout: str = "30s"

    @property
    def timeout_seconds(self) -> float:
        """`--timeout` as a number. Raises InvalidArgumentError where it is no duration."""
        return parse_duration(self.timeout, "--timeout").total_seconds()


def client_of(context: "typer.Context", screen: Screen) -> AbstractContextManager[Client]:
    """Returns a client as `client_for` does, for the options of a run that Typer read."""
    given: GlobalOptions = context.obj
    return client_for(given, screen)


def client_for(given: GlobalOptions, screen: Screen) -> AbstractContextManager[Client]:
    """Returns a client for the global options, the environment and the config file; it is open until the process ends.

    Closing a channel can hang in gRPC, if very seldom (its issue 20026), and a command that has its answer is to show
    it and end. Raises SettingsError or InvalidArgumentError where they do not make one.
    """
    settings = _settings_for(given, screen)
    client = Client(
        settings.endpoint,
        ca_file=settings.ca_file,
        timeout=given.timeout_seconds,
        on_interruption=_teller(screen),
        **settings.identity.arguments(),
    )
    KEPT.append(client)
    return nullcontext(client)


def settings_of(context: "typer.Context", screen: Screen) -> Settings:
    """Returns what the global options, the environment and the config file say, and warns of what is unwise in it.

    Raises SettingsError where it cannot be used.
    """
    given: GlobalOptions = context.obj
    return _settings_for(given, screen)


def _settings_for(given: GlobalOptions, screen: Screen) -> Settings:
    if given.api_key:
        screen.warn(
            "--api-key on the command line: other users of this machine can see it in the process list; "
            "--api-key-file or VALETKEY_API_KEY keep it out"
        )
    settings = _load(given)
    for warning in settings.warnings:
        screen.warn(warning)
    return settings


def identity_of(context: "typer.Context") -> Identity:
    """Returns the identity that counts; it shows no secret."""
    given: GlobalOptions = context.obj
    return _load(given).identity


def place_of(context: "typer.Context") -> tuple[str, Path | None]:
    """Returns where the broker is, and its CA file. Raises SettingsError where nothing says it."""
    given: GlobalOptions = context.obj
    return load_place(endpoint=given.endpoint, ca_file=given.ca_file, config_file=given.config)


def client_with_login(context: "typer.Context", login_file: Path) -> Client:
    """Returns a client of the same broker that calls with a log-in. Raises what `place_of` raises."""
    given: GlobalOptions = context.obj
    endpoint, ca_file = place_of(context)
    client = Client(endpoint, ca_file=ca_file, timeout=given.timeout_seconds, login_file=login_file)
    KEPT.append(client)
    return client


def client_with_key(context: "typer.Context", api_key: str) -> Client:
    """Returns a client of the same broker that calls with another API key. Raises what `client_of` raises."""
    given: GlobalOptions = context.obj
    settings = _load(given)
    client = Client(settings.endpoint, ca_file=settings.ca_file, timeout=given.timeout_seconds, api_key=api_key)
    KEPT.append(client)
    return client


def _load(given: GlobalOptions) -> Settings:
    return load_settings(
        endpoint=given.endpoint,
        ca_file=given.ca_file,
        api_key=given.api_key,
        api_key_file=given.api_key_file,
        token_file=given.token_file,
        client_cert_file=given.client_cert_file,
        client_key_file=given.client_key_file,
        config_file=given.config,
    )


def _teller(screen: Screen) -> Callable[[ValetKeyError], None]:
    """Returns what notes an interruption, and one that lasts only once."""
    told: set[str] = set()

    def tell(error: ValetKeyError) -> None:
        if error.message not in told:
            told.clear()
            told.add(error.message)
            screen.note(f"{error.message.removesuffix('; try again')}; trying again")

    return tell
