"""Where files say that secrets are: never in them, but beside them or in the environment."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from valetkey.cli.as_code.yaml_reading import Place
from valetkey.cli.credential_input import clean
from valetkey.cli.screen import Screen
from valetkey.errors import SettingsError
from valetkey.secret_files import read_bytes

VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is: `@FILE`, seen from the folder of the file that says so, or `$NAME` of the environment."""

    place: Place
    field: str
    text: str

    def read(self) -> str:
        """Returns the secret. Raises SettingsError where it cannot be had; the error shows nothing of it."""
        screen = Screen(as_json=True)
        if self.text.startswith("@"):
            path = Path(self.place.file).parent / self.text[1:]
            return clean(self.field, read_bytes(path, f"{self.place}: {self.field}"), f"file {path}", screen)
        match = VARIABLE.fullmatch(self.text)
        name = (match[1] or match[2]) if match else ""
        value = os.environ.get(name)
        if not value:
            raise SettingsError(f"{self.place}: {self.field}: {name} is not set in the environment")
        return clean(self.field, value.encode("utf-8", "surrogateescape"), name, screen)
