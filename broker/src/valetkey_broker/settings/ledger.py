"""Settings of the ledger's database: a file for one machine, PostgreSQL for a fleet."""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import Secret
from valetkey_broker.settings.section import Seconds, Section
from valetkey_broker.watched_files import WatchedFiles

_DEFAULT_URL = "sqlite:////var/lib/valetkey/ledger.db"
_EXPECTED = "sqlite:////ABSOLUTE/PATH.db or postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
_ENCRYPTED = ("require", "verify-ca", "verify-full")


class LedgerSettings(Section):
    """Where decisions are recorded, and for how long. `url_file` holds the URL where it carries a password."""

    url: SecretStr | None = None
    url_file: Path | None = None
    # No less than the longest life of a token: a lease that still works stays on record.
    retention_days: int = Field(default=400, ge=8)
    # For one write, waiting for the database's lock included; after it, what waits is refused.
    timeout_seconds: Seconds = 5.0

    @field_validator("url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_ledger_url(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.url is not None and self.url_file is not None:
            raise ValueError("url and url_file are both given; expected one of them")
        return self

    def files(self) -> dict[str, Path | None]:
        """Returns every file the section names, by setting."""
        return {"ledger.url_file": self.url_file}

    def database_url(self) -> Secret:
        """Returns the URL. Raises ConfigurationError where `url_file` does not hold a usable one."""
        return self.watched_url()()

    def watched_url(self) -> Callable[[], Secret]:
        """Returns what gives the URL as it is now.

        User and password in `url_file` may change at any time, and with them the URL; one that names another database
        is an error in the log, and the old one stays. Raises as `database_url` does, until there was a usable one.
        """
        if self.url_file is None:
            url = Secret(self.url.get_secret_value() if self.url is not None else _DEFAULT_URL)
            return lambda: url
        named, place = f"ledger.url_file: {self.url_file}", ""

        def make(contents: Mapping[str, bytes]) -> Secret:
            nonlocal place
            try:
                url = contents["ledger.url_file"].decode("utf-8").strip()
                check_ledger_url(url)
            except UnicodeDecodeError:
                raise ConfigurationError(f"{named}: is not text; expected one line, a URL") from None
            except ValueError as error:
                raise ConfigurationError(f"{named}: {error}") from None
            if _without_login(url) != (place or _without_login(url)):
                raise ConfigurationError(
                    f"{named}: names another database than the one in use; expected nothing else than user and "
                    "password to change, or a restart of the broker"
                )
            place = _without_login(url)
            return Secret(url)

        return WatchedFiles("the URL of the ledger", {"ledger.url_file": self.url_file}, make).current


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def check_ledger_url(url: str) -> None:
    """Raises ValueError, which never shows the URL, where the ledger cannot or should not be kept there.

    A PostgreSQL on another machine has to be reached over TLS: the record of who got what is nobody else's to read
    or to change on its way.
    """
    try:
        parts = urlsplit(url)
        host, query = parts.hostname or "", parse_qs(parts.query)
    except ValueError:
        raise ValueError(f"is not a URL; expected {_EXPECTED}") from None
    if parts.scheme == "sqlite":
        if parts.netloc or not parts.path.startswith("//") or parts.path.endswith("/") or parts.query:
            raise ValueError(f"does not name a file by its absolute path; expected {_EXPECTED}")
    elif parts.scheme in ("postgresql", "postgresql+psycopg"):
        hosts = [*host.split(","), *query.get("host", []), *query.get("hostaddr", [])]
        encrypted = set(query.get("sslmode", [])) <= set(_ENCRYPTED) and "sslmode" in query
        if not encrypted and not all(_on_this_machine(name) for name in hosts):
            raise ValueError(f"would reach PostgreSQL without TLS; add ?sslmode=verify-full (or {_ENCRYPTED[0]})")
    else:
        raise ValueError(f"is not a database the ledger can be kept in; expected {_EXPECTED}")


def _on_this_machine(host: str) -> bool:
    # An empty host, or one that is a path, is a Unix socket.
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
