"""Reads the settings: one TOML file, overridden by the environment, refused where insecure or half-given."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings.errors import explain, unreadable
from valetkey_broker.settings.root import ENV_PREFIX, Settings
from valetkey_broker.watched_files import trusted_cas


def load_settings(path: Path) -> Settings:
    """Reads the settings from a TOML file and the environment.

    Raises ConfigurationError with one line for every problem found: the file, the setting, what is wrong.
    """
    settings = make_settings(read_values(path), path)
    check_files(settings, path, settings.files())
    return settings


def read_values(path: Path) -> dict[str, Any]:
    """Returns what a TOML file says, unchecked. Raises ConfigurationError where it cannot be read, or is no TOML."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from None
    if reserved := [key for key in values if key.startswith("_")]:  # pydantic-settings would take them for its own.
        raise ConfigurationError("\n".join(f"{path}: {key}: is not a setting" for key in reserved))
    return values


def make_settings(values: dict[str, Any], path: Path) -> Settings:
    """Returns the settings that `values`, which `path` is to blame for, and the environment make.

    Raises ConfigurationError with a line for every error. The files that they name are not looked at.
    """
    if errors := _errors_in_environment():
        raise ConfigurationError("\n".join(errors))
    try:
        return Settings(**values)
    except SettingsError:  # Found above; where it was not, its own words tell of nothing but how this is read.
        raise ConfigurationError(
            f"the environment ({ENV_PREFIX}…) cannot be read; expected JSON for a section"
        ) from None
    except ValidationError as error:
        raise ConfigurationError("\n".join(explain(error, Settings, path, ENV_PREFIX))) from None


def check_files(settings: Settings, path: Path, files: Mapping[str, Path]) -> None:
    """Raises ConfigurationError with a line for each of `files`, by setting, and for a ledger, that cannot be used."""
    errors = [f"{path}: {setting}: {error}" for setting, file in files.items() if (error := unreadable(file))]
    errors = errors or [f"{path}: {error}" for error in map(_ca_error, files.items()) if error]
    if errors:
        raise ConfigurationError("\n".join(errors))
    try:
        settings.ledger.database_url()
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _ca_error(named: tuple[str, Path]) -> str:
    setting, file = named
    if not setting.endswith(".ca_file"):
        return ""
    try:
        trusted_cas("CAs", setting, file).current()
    except ConfigurationError as error:
        return str(error)
    return ""


def _errors_in_environment() -> list[str]:
    """Returns what is wrong with variables as such: a section that there is not, and one that is no JSON."""
    errors = []
    for name, text in sorted(os.environ.items()):
        section, separator, _ = name.upper().removeprefix(ENV_PREFIX).lower().partition("__")
        if not name.upper().startswith(ENV_PREFIX):
            continue
        if separator and section not in Settings.model_fields:
            # Without a separator it may be another program's: Kubernetes makes such ones for each Service.
            errors.append(f"{name}: unknown section; known here: {', '.join(sorted(Settings.model_fields))}")
        elif not separator and section in Settings.model_fields and section != "default_cloud" and not _is_json(text):
            errors.append(f"{name}: is not JSON; expected a section as JSON, or a value in {name}__SETTING")
    return errors


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
