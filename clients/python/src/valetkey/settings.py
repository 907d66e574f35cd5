"""Where the broker is, whom to trust, who is asking: arguments, the environment, a config file, then a log-in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valetkey.channel import parse_endpoint
from valetkey.errors import SettingsError
from valetkey.identity import Identity
from valetkey.secret_files import clean_secret, read_secret_file

_PATHS = ("ca_file", "api_key_file", "token_file", "client_cert_file", "client_key_file")
_KEYS = ("endpoint", "api_key", *_PATHS)
_IDENTITY = (*(key for key in _KEYS if key not in ("endpoint", "ca_file")), "login_file")
_OTHERS_CAN_READ = 0o077
# One place that settings come from; a key that is missing, None or empty is not given there.
_Layer = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """All a client needs. `endpoint` is HOST:PORT; `warnings` are sentences for whoever sits there."""

    endpoint: str
    ca_file: Path | None
    identity: Identity
    warnings: tuple[str, ...] = ()


def load_settings(
    *,
    endpoint: str | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    api_key_file: str | os.PathLike[str] | None = None,
    token_file: str | os.PathLike[str] | None = None,
    client_cert_file: str | os.PathLike[str] | None = None,
    client_key_file: str | os.PathLike[str] | None = None,
    login_file: str | os.PathLike[str] | None = None,
    config_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Returns the settings: arguments win over the environment, the environment over the config file.

    The environment is VALETKEY_ENDPOINT, VALETKEY_CA_FILE, VALETKEY_CONFIG, and for the identity one of
    VALETKEY_API_KEY, VALETKEY_API_KEY_FILE, VALETKEY_TOKEN_FILE, or VALETKEY_CLIENT_CERT_FILE with
    VALETKEY_CLIENT_KEY_FILE. Where none of them names an identity, it is the log-in at that broker, if there is one:
    what `valetkey login` wrote. Raises SettingsError where something is missing, contradicts itself or is unusable,
    saying where it can be set.
    """
    env = os.environ if environ is None else environ
    config, path = _read_config(config_file, env)
    arguments: _Layer = {
        "endpoint": endpoint,
        "ca_file": os.fspath(ca_file) if ca_file else None,
        "api_key": api_key,
        "api_key_file": os.fspath(api_key_file) if api_key_file else None,
        "token_file": os.fspath(token_file) if token_file else None,
        "client_cert_file": os.fspath(client_cert_file) if client_cert_file else None,
        "client_key_file": os.fspath(client_key_file) if client_key_file else None,
        "login_file": os.fspath(login_file) if login_file else None,
    }
    layers = [arguments, _environment(env), config]
    endpoint, found_ca = _place(layers, path)
    return Settings(
        endpoint=endpoint,
        ca_file=found_ca,
        identity=_identity(layers, path, endpoint, env),
        warnings=_warnings(path, config),
    )


def load_place(
    *,
    endpoint: str | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    config_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[str, Path | None]:
    """Returns where the broker is, and its CA file: all that is needed before anybody has an identity.

    Takes them from where `load_settings` does, and raises as that does.
    """
    env = os.environ if environ is None else environ
    config, path = _read_config(config_file, env)
    arguments: _Layer = {"endpoint": endpoint, "ca_file": os.fspath(ca_file) if ca_file else None}
    return _place([arguments, _environment(env), config], path)


def _environment(env: Mapping[str, str]) -> _Layer:
    return {key: env.get(f"VALETKEY_{key.upper()}") for key in _KEYS}


def _place(layers: list[_Layer], path: Path) -> tuple[str, Path | None]:
    found_endpoint = next((layer["endpoint"] for layer in layers if layer.get("endpoint")), None)
    if not found_endpoint:
        raise SettingsError(
            f"no endpoint; expected HOST:PORT in --endpoint, in VALETKEY_ENDPOINT or as `endpoint` in {path}"
        )
    found_ca = next((layer["ca_file"] for layer in layers if layer.get("ca_file")), None)
    return parse_endpoint(found_endpoint), _path(found_ca) if found_ca else None


def _identity(layers: list[_Layer], path: Path, endpoint: str, env: Mapping[str, str]) -> Identity:
    # The first place that says anything of it decides, so that the parts of two identities never mix.
    for layer in layers:
        found = {key: value for key in _IDENTITY if (value := layer.get(key))}
        if found:
            return _identity_of(found)
    # Whoever logged in at this broker needs no other identity; any that is named comes first.
    login = login_file_of(endpoint, env)
    if login.is_absolute() and os.path.lexists(login):
        return Identity(login_file=login)
    raise SettingsError(
        "no identity; expected one of: an API key in VALETKEY_API_KEY or in the file that --api-key-file or "
        "VALETKEY_API_KEY_FILE names; a token in the file that --token-file or VALETKEY_TOKEN_FILE names; a client "
        "certificate in --client-cert-file and --client-key-file, or VALETKEY_CLIENT_CERT_FILE and "
        f"VALETKEY_CLIENT_KEY_FILE; or the same in {path}; people log in: valetkey --endpoint {endpoint} login"
    )


def _identity_of(found: dict[str, str]) -> Identity:
    paths: dict[str, Any] = {key: _path(value) for key, value in found.items() if not key.startswith("api_key")}
    if "api_key" in found and "api_key_file" in found:
        raise SettingsError("API key: given both as itself and as a file in the same place; expected one of them")
    if "api_key" not in found and "api_key_file" not in found:
        return Identity.of(**paths)
    if paths:
        return Identity.of(api_key="", **paths)  # says that these are two kinds, before anything is read
    if "api_key" in found:
        key, _ = clean_secret(found["api_key"].encode("utf-8", "surrogateescape"), "API key", "the value given")
        return Identity.of(api_key=key)
    path = _path(found["api_key_file"])
    key, _ = read_secret_file(path, "API key")
    once = Identity.of(api_key=key)  # says now what cannot be used
    # A pipe, such as <(…) of a shell, gives its content away once.
    return Identity.of(api_key_file=path) if path.is_file() else once


def _read_config(given: str | os.PathLike[str] | None, env: Mapping[str, str]) -> tuple[_Layer, Path]:
    named = os.fspath(given) if given else env.get("VALETKEY_CONFIG")
    path = _path(named) if named else _default_config(env)
    # Whoever has no home would read what others put into a folder called ~ where the program happens to run.
    if not named and not path.is_absolute():
        return {}, path
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if named:
            raise SettingsError(f"config file: there is no file {path}") from None
        return {}, path
    except OSError as error:
        raise SettingsError(f"config file: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"config file: {path} is not text; expected TOML in UTF-8") from None
    import tomllib  # noqa: PLC0415 (a quarter of what importing us costs, and most have no such file)

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its text gives a place, never a value.
        raise SettingsError(f"config file: {path} is not TOML: {error}") from None
    _check_keys(values, path)
    # A path in the file is meant from where the file is, not from where the command happens to run.
    for key in _PATHS:
        if values.get(key):
            values[key] = str(path.parent / _path(values[key]))
    return values, path


def _check_keys(values: Mapping[str, object], path: Path) -> None:
    for key, value in values.items():
        if key not in _KEYS:
            raise SettingsError(f"config file: {path} has the unknown key {key!r}; expected {', '.join(_KEYS)}")
        if not isinstance(value, str):
            raise SettingsError(f"config file: {key} in {path} is not a string")


def login_file_of(endpoint: str, env: Mapping[str, str]) -> Path:
    """Returns where the log-in at a broker is kept: `$XDG_STATE_HOME/valetkey/log-ins/HOST:PORT/login.json`."""
    return Path(_base(env, "XDG_STATE_HOME", "~/.local/state"), "valetkey", "log-ins", endpoint.lower(), "login.json")


def _default_config(env: Mapping[str, str]) -> Path:
    return Path(_base(env, "XDG_CONFIG_HOME", "~/.config"), "valetkey", "config.toml")


def _base(env: Mapping[str, str], name: str, default: str) -> Path:
    """Returns one of the user's folders; for a user without a home it begins with `~`, and counts for nothing."""
    base = env.get(name, "")
    # A relative one is to be ignored, says the XDG Base Directory Specification.
    return Path(base) if base.startswith("/") else _path(default)


def _path(text: str) -> Path:
    # Path.expanduser raises where there is no such user; a `~` left in place makes a clear error later.
    return Path(os.path.expanduser(text))  # noqa: PTH111 (see above)


def _warnings(path: Path, config: _Layer) -> tuple[str, ...]:
    if config.get("api_key") and os.name == "posix" and path.stat().st_mode & _OTHERS_CAN_READ:
        return (f"{path} holds an API key and other users of this machine can read it; run: chmod 600 {path}",)
    return ()
