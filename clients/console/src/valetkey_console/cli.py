"""`valetkey-console`: serves the pages."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from valetkey import ValetKeyError
from valetkey_console.app import console_app
from valetkey_console.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    name="valetkey-console",
    help="The console of Valet Key in the browser. It may do nothing itself: who is logged in does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
# Bytes: the cookies of a large access token, and the other headers.
_MOST_HEADERS = 64 * 1024
# Connections and requests at once, and seconds that a connection may wait for its next request: more are answered 503.
_MOST_AT_ONCE = 500
_KEEP_ALIVE = 5


@app.callback()
def _whole() -> None:
    """Keeps `serve` a word of its own."""


def _option(what: str, variable: str) -> Any:
    return typer.Option(help=what, envvar=f"VALETKEY_CONSOLE_{variable}", show_envvar=False, show_default=False)


@app.command()
def serve(
    config: Annotated[Path | None, _option("A TOML file with these settings: docs/console.md.", "CONFIG")] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="The broker, HOST:PORT.",
            envvar=["VALETKEY_CONSOLE_ENDPOINT", "VALETKEY_ENDPOINT"],
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            help="CA certificates to trust the broker by, in PEM form.",
            envvar=["VALETKEY_CONSOLE_CA_FILE", "VALETKEY_CA_FILE"],
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
    host: Annotated[str | None, _option("Address to listen on; 127.0.0.1 if left out.", "HOST")] = None,
    port: Annotated[int | None, _option("Port to listen on; 8480 if left out.", "PORT")] = None,
    outer_url: Annotated[
        str | None, _option("The address that people type, where a proxy stands before the console.", "OUTER_URL")
    ] = None,
    tls_cert_file: Annotated[Path | None, _option("Certificate to serve by TLS, in PEM form.", "TLS_CERT_FILE")] = None,
    tls_key_file: Annotated[Path | None, _option("Its key.", "TLS_KEY_FILE")] = None,
    session_key_file: Annotated[
        Path | None, _option("The key that seals sessions; without it they end with the process.", "SESSION_KEY_FILE")
    ] = None,
    login_issuer: Annotated[
        str | None,
        _option("The one issuer to log in at, of those that the broker names.", "LOGIN_ISSUER"),
    ] = None,
    login_client_id: Annotated[
        str | None, _option("The console's own client at that issuer; the command's if left out.", "LOGIN_CLIENT_ID")
    ] = None,
    login_client_secret_file: Annotated[
        Path | None, _option("The secret of that client, if it has one.", "LOGIN_CLIENT_SECRET_FILE")
    ] = None,
    issuer_ca_file: Annotated[
        Path | None, _option("CA certificates to trust the issuer by, in PEM form.", "ISSUER_CA_FILE")
    ] = None,
    api_key_login: Annotated[
        bool | None,
        typer.Option(
            "--api-key-login/--no-api-key-login",
            help="Whether people may log in by an API key; they may not if left out.",
            envvar="VALETKEY_CONSOLE_API_KEY_LOGIN",
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the console until it is stopped.

    Each option can be a variable VALETKEY_CONSOLE_…, too, or a line of the config file; the first of these counts.
    """
    given = {name: value for name, value in locals().items() if name != "config"}
    try:
        settings = load_settings(config, given)
        application = console_app(settings)
    except (SettingsError, ValetKeyError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("valetkey_console").info("the console is at %s", settings.address)
    uvicorn.Server(server_config(settings, application)).run()


def server_config(settings: Settings, application: Any) -> uvicorn.Config:
    """Returns how uvicorn serves: nothing that a request says about proxies counts, and none is logged by it."""
    return uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=_MOST_HEADERS,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    """Runs the command."""
    app()
