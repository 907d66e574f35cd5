"""What the console is told when it starts, and what is wrong with it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PORT = 8480


class SettingsError(Exception):
    """A setting is missing or cannot be used; the text says which, what was expected, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the broker is, and where and how the pages are served.

    `outer_url` is the address that people type, with the base path, where a proxy stands before the console; all links
    and the check of where a form came from go by it. Without `session_key_file` sessions end with this process.
    `login_client_id` is the console's own client at `login_issuer`, if it is not that of the command.
    """

    endpoint: str
    ca_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    outer_url: str = ""
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    session_key_file: Path | None = None
    api_key_login: bool = False
    login_issuer: str = ""
    login_client_id: str = ""
    login_client_secret_file: Path | None = None
    issuer_ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError for what cannot be used, and for pages that would go in the clear over a network."""
        if not self.endpoint:
            raise SettingsError("endpoint: not given; expected the broker's HOST:PORT (--endpoint, VALETKEY_ENDPOINT)")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise SettingsError("tls_cert_file and tls_key_file: one is given; expected both, or none")
        if (self.login_client_id or self.login_client_secret_file) and not self.login_issuer:
            raise SettingsError(
                "login_issuer: not given, and the console has a client of its own; expected the issuer that knows it"
            )
        if self.login_client_secret_file and not self.login_client_id:
            raise SettingsError("login_client_id: not given; expected the client whose secret is given")
        if self.outer_url:
            _check_outer_url(self.outer_url)
        elif not self.tls_cert_file and not _is_loopback(self.host):
            raise SettingsError(
                f"host: {self.host} is no loopback address, and the pages would go over the network in the clear; "
                "expected tls_cert_file and tls_key_file, or an outer_url with https:// that a proxy serves"
            )

    @property
    def origins(self) -> frozenset[str]:
        """The origins that our own pages have, as browsers tell them."""
        if self.outer_url:
            parts = urlsplit(self.outer_url)
            return frozenset({f"{parts.scheme}://{parts.netloc}".lower()})
        scheme, usual = ("https", 443) if self.tls_cert_file else ("http", 80)
        port = "" if self.port == usual else f":{self.port}"
        return frozenset(f"{scheme}://{name}{port}".lower() for name in self._names)

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers that requests may have; empty where a proxy's are taken, whatever they are."""
        return frozenset() if self.outer_url else frozenset(urlsplit(origin).netloc for origin in self.origins)

    @property
    def base_path(self) -> str:
        """The path before all of ours: empty, or such as `/valetkey`."""
        return urlsplit(self.outer_url).path.rstrip("/")

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        if self.outer_url:
            return f"{self.outer_url.rstrip('/')}/"
        scheme = "https" if self.tls_cert_file else "http"
        return f"{scheme}://{self._names[0]}:{self.port}/"

    @property
    def _names(self) -> tuple[str, ...]:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host, *(name for name in ("localhost", "127.0.0.1") if _is_loopback(self.host) and name != host))


def load_settings(file: Path | None, given: Mapping[str, Any]) -> Settings:
    """Returns the settings of a TOML file, under those that the command was `given`, None standing for none.

    Paths in the file are relative to it. Raises SettingsError.
    """
    values = {**(_read(file) if file else {}), **{name: value for name, value in given.items() if value is not None}}
    return Settings(**{"endpoint": "", **values})


def _read(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config: {file} cannot be read: {error.strerror}") from None
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"config: {file} is no TOML: {error}") from None
    known = {field.name: field.type for field in fields(Settings)}
    for name, value in found.items():
        if name not in known:
            raise SettingsError(f"config: {file} has {name!r}; expected some of {', '.join(known)}")
        kind = next((kind for kind in (bool, int) if known[name] is kind), str)
        if type(value) is not kind:
            raise SettingsError(f"config: {name} in {file} is {value!r}; expected a {kind.__name__}")
        if name.endswith("_file"):
            found[name] = file.parent / value
    return found


def _check_outer_url(url: str) -> None:
    parts = urlsplit(url)
    plain_loopback = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not (parts.scheme == "https" or plain_loopback) or not parts.hostname or "@" in parts.netloc:
        raise SettingsError(f"outer_url: {url!r} cannot be used; expected https://HOST[:PORT][/PATH]")
    if parts.query or parts.fragment or "//" in parts.path or not url.isascii() or not url.isprintable():
        raise SettingsError(f"outer_url: {url!r} has more than a host and a path; expected https://HOST[:PORT][/PATH]")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
