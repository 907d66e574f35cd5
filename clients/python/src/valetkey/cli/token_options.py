"""What is said of tokens alike, wherever a command asks for them."""

from typing import Annotated

import typer

Connector = Annotated[
    str | None,
    typer.Option(help="Connector to use; needed where several serve the resource.", show_default=False),
]
Purpose = Annotated[
    str | None,
    typer.Option(help="What it is for, kept in the ledger; at most 200 characters.", show_default=False),
]
