"""The option of nearly all commands: how they show what they found."""

from typing import Annotated

import typer

from valetkey.cli.screen import OutputFormat

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to show the result.", show_default=True)]
