"""Where the broker is, whom to trust, who is asking: arguments, then the environment, then a config file."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from valetkey.channel import parse_endpoint
from valetkey.errors import SettingsError
from valetkey.secret_files import clean_secret, read_secret_file

_KEYS = ("endpoint", "ca_file", "api_key", "api_key_file")
_OTHERS_CAN_READ = 0o077
# One place that settings come from; a key that is missing, None or empty is not given there.
_Layer = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """All a client needs. `endpoint` is HOST:PORT; `warnings` are sentences for whoever sits there."""

    endpoint: str
    ca_file: Path | None
    api_key: str = field(repr=False)
    warnings: tuple[str, ...] = ()


def load_settings(
    *,
    endpoint: str | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    api_key_file: str | os.PathLike[str] | None = None,
    config_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Returns the settings: arguments win over the environment, the environment over the config file.

    The environment is VALETKEY_ENDPOINT, VALETKEY_CA_FILE, VALETKEY_API_KEY, VALETKEY_API_KEY_FILE and
    VALETKEY_CONFIG. Raises SettingsError where something is missing or unusable, saying where it can be set.
    """
    env = os.environ if environ is None else environ
    config, path = _read_config(config_file, env)
    arguments: _Layer = {
        "endpoint": endpoint,
        "ca_file": os.fspath(ca_file) if ca_file else None,
        "api_key": api_key,
        "api_key_file": os.fspath(api_key_file) if api_key_file else None,
    }
    layers: list[_Layer] = [arguments, {key: env.get(f"VALETKEY_{key.upper()}") for key in _KEYS}, config]
    found_endpoint = next((layer["endpoint"] for layer in layers if layer.get("endpoint")), None)
    if not found_endpoint:
        raise SettingsError(
            f"no endpoint; expected HOST:PORT in --endpoint, in VALETKEY_ENDPOINT or as `endpoint` in {path}"
        )
    found_ca = next((layer["ca_file"] for layer in layers if layer.get("ca_file")), None)
    return Settings(
        endpoint=parse_endpoint(found_endpoint),
        ca_file=_path(found_ca) if found_ca else None,
        api_key=_api_key(layers, path),
        warnings=_warnings(path, config),
    )


def _api_key(layers: list[_Layer], path: Path) -> str:
    for layer in layers:
        if layer.get("api_key") and layer.get("api_key_file"):
            raise SettingsError("API key: given both as itself and as a file in the same place; expected one of them")
        if key := layer.get("api_key"):
            return clean_secret(key.encode("utf-8", "surrogateescape"), "API key", "the value given")[0]
        if file := layer.get("api_key_file"):
            return read_secret_file(_path(file), "API key")[0]
    raise SettingsError(
        "no API key; expected one in VALETKEY_API_KEY, "
        "in the file that --api-key-file or VALETKEY_API_KEY_FILE names, or as "
        f"`api_key` or `api_key_file` in {path}"
    )


def _read_config(given: str | os.PathLike[str] | None, env: Mapping[str, str]) -> tuple[_Layer, Path]:
    named = os.fspath(given) if given else env.get("VALETKEY_CONFIG")
    path = _path(named) if named else _default_config(env)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if named:
            raise SettingsError(f"config file: there is no file {path}") from None
        return {}, path
    except OSError as error:
        raise SettingsError(f"config file: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"config file: {path} is not text; expected TOML in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        # Its text gives a place, never a value.
        raise SettingsError(f"config file: {path} is not TOML: {error}") from None
    _check_keys(values, path)
    # A path in the file is meant from where the file is, not from where the command happens to run.
    for key in ("ca_file", "api_key_file"):
        if values.get(key):
            values[key] = str(path.parent / _path(values[key]))
    return values, path


def _check_keys(values: Mapping[str, object], path: Path) -> None:
    for key, value in values.items():
        if key not in _KEYS:
            raise SettingsError(f"config file: {path} has the unknown key {key!r}; expected {', '.join(_KEYS)}")
        if not isinstance(value, str):
            raise SettingsError(f"config file: {key} in {path} is not a string")


def _default_config(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_CONFIG_HOME") or _path("~/.config")
    return Path(base, "valetkey", "config.toml")


def _path(text: str) -> Path:
    # Path.expanduser raises where there is no such user; a `~` left in place makes a clear error later.
    return Path(os.path.expanduser(text))  # noqa: PTH111 (see above)


def _warnings(path: Path, config: _Layer) -> tuple[str, ...]:
    if config.get("api_key") and os.name == "posix" and path.stat().st_mode & _OTHERS_CAN_READ:
        return (f"{path} holds an API key and other users of this machine can read it; run: chmod 600 {path}",)
    return ()
