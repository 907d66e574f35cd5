"""`valetkey login` and `valetkey logout`: people's own identity, kept for each broker."""

from typing import Annotated

import typer

from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen

_MOST_PORT = 65535


def login(
    context: typer.Context,
    *,
    device: Annotated[
        bool,
        typer.Option("--device", help="By a code that you type in on another device; the default without a display."),
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser, or print its address alone.")] = True,
    issuer: Annotated[
        str | None, typer.Option(help="Log in at this issuer alone, or not at all.", show_default=False)
    ] = None,
    issuer_ca_file: Annotated[
        str | None,
        typer.Option(
            help="CAs of the issuer, PEM; or VALETKEY_ISSUER_CA_FILE, else this machine's.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=_MOST_PORT, help="Port on 127.0.0.1 that the browser comes back to; 0: a free one."),
    ] = 0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Log in at the issuer that the broker names. Every command then works, with no other identity set."""
    from valetkey.cli.login_steps import LoginWishes, log_in  # noqa: PLC0415 (HTTP, which few commands need)

    screen = Screen(as_json=output is OutputFormat.JSON)
    wishes = LoginWishes(device=device, browser=browser, issuer=issuer, issuer_ca_file=issuer_ca_file, port=port)
    log_in(context, screen, wishes)


def logout(context: typer.Context, *, output: Output = OutputFormat.TABLE) -> None:
    """End the log-in at the broker: revoke it at the issuer, where that can be done, and forget it here."""
    from valetkey.cli.login_steps import log_out_of  # noqa: PLC0415 (as above)

    log_out_of(context, Screen(as_json=output is OutputFormat.JSON))
