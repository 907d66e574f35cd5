"""The broker's settings: one TOML file, overridden by the environment, refused where insecure or half-given."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from broker.errors import ConfigurationError
from broker.identity_settings import AuthnSettings
from broker.ledger_settings import LedgerSettings
from broker.model import CloudProfile
from broker.settings_problems import explain, open_to_others, unreadable

ENV_PREFIX = "VALETKEY_BROKER_"
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """Where and how the broker serves. There is no plaintext port."""

    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=1, le=65535)
    tls_cert_file: Path
    tls_key_file: Path
    # Caps: a caller's own, shorter deadline holds; a longer or missing one is cut to this.
    max_deadline_seconds: Seconds = 60.0
    max_message_bytes: int = Field(default=64 * 1024, ge=1024, le=4 * 1024 * 1024)
    grace_seconds: Seconds = 10.0
    workers: int = Field(default=1, ge=1, le=64)

    @property
    def address(self) -> str:
        """Host and port as gRPC and people write them, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class VaultSettings(_Section):
    """Vault or OpenBao: AppRole login, KV v2 on its own mount."""

    address: str
    mount: str = Field(default="valetkey", pattern=r"^[a-z0-9-]+$")
    role_id_file: Path
    secret_id_file: Path
    approle_mount: str = Field(default="approle", pattern=r"^[a-z0-9/-]+$")
    ca_file: Path | None = None
    timeout_seconds: Seconds = 5.0
    # How soon a change made by another replica is seen, and how often everything is read anew.
    poll_seconds: Seconds = 1.0
    resync_seconds: Seconds = 300.0
    # With Vault away, issuing goes on from memory for this long; then it stops.
    max_stale_seconds: Seconds = 3600.0

    @field_validator("address")
    @classmethod
    def _https(cls, value: str) -> str:
        return _https_url(value)


class CloudSettings(_Section):
    """A cloud profile (see docs/configuration.md)."""

    authority: str
    arm_endpoint: str = ""
    blob_endpoint: str
    ca_file: Path | None = None
    correlation_id: bool = True

    @field_validator("authority", "blob_endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        return _https_url(value)

    @field_validator("arm_endpoint")
    @classmethod
    def _https_or_none(cls, value: str) -> str:
        return _https_url(value) if value else ""

    @field_validator("blob_endpoint")
    @classmethod
    def _names_account(cls, value: str) -> str:
        if value.count("{account}") != 1 or set("{}") & set(value.replace("{account}", "")):
            raise ValueError("must hold {account} exactly once, and no other braces")
        return value


class IssuingSettings(_Section):
    """Limits of what is issued."""

    default_ttl_seconds: int = Field(default=900, ge=60)
    # Azure ends a user delegation SAS with its key, after at most 7 days.
    max_ttl_seconds: int = Field(default=12 * 3600, ge=60, le=7 * 24 * 3600)
    delegation_key_seconds: int = Field(default=24 * 3600, ge=3600, le=7 * 24 * 3600)
    clock_skew_seconds: int = Field(default=900, ge=0, le=3600)
    # How long a connector's list of containers is believed when a request names no account.
    discovery_seconds: Seconds = 300.0
    cloud_timeout_seconds: Seconds = 20.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_ttl_seconds > self.max_ttl_seconds:
            raise ValueError("default_ttl_seconds is over max_ttl_seconds")
        if self.delegation_key_seconds < self.max_ttl_seconds:
            raise ValueError("delegation_key_seconds is under max_ttl_seconds: no token outlives its key")
        return self


class LimitsSettings(_Section):
    """Abuse limits of one process; with several workers each has its own."""

    # Tokens for one principal: bursts of a pipeline that starts, and what it needs from then on.
    issue_burst: int = Field(default=1000, ge=1)
    issue_per_second: Seconds = 200.0
    # Failed authentications from one address.
    failed_authentication_burst: int = Field(default=20, ge=1)
    failed_authentication_per_second: Seconds = 1.0
    # Open WatchToken streams of one principal.
    streams: int = Field(default=200, ge=1)


class LoggingSettings(_Section):
    """What is logged, to standard output."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


# Source: https://learn.microsoft.com/azure/storage/common/storage-endpoints (sovereign clouds have their own pages)
_BUILT_IN_CLOUDS: dict[str, dict[str, Any]] = {
    "azure-public": {
        "authority": "https://login.microsoftonline.com",
        "arm_endpoint": "https://management.azure.com",
        "blob_endpoint": "https://{account}.blob.core.windows.net",
    },
    "azure-us-government": {
        "authority": "https://login.microsoftonline.us",
        "arm_endpoint": "https://management.usgovcloudapi.net",
        "blob_endpoint": "https://{account}.blob.core.usgovcloudapi.net",
    },
    "azure-china": {
        "authority": "https://login.chinacloudapi.cn",
        "arm_endpoint": "https://management.chinacloudapi.cn",
        "blob_endpoint": "https://{account}.blob.core.chinacloudapi.cn",
    },
}


class Settings(BaseSettings):
    """All settings. The environment wins over the file: `VALETKEY_BROKER_SERVER__PORT=9443`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    server: ServerSettings
    vault: VaultSettings
    issuing: IssuingSettings = IssuingSettings()
    ledger: LedgerSettings = LedgerSettings()
    limits: LimitsSettings = LimitsSettings()
    logging: LoggingSettings = LoggingSettings()
    authn: AuthnSettings = AuthnSettings()
    clouds: dict[str, CloudSettings] = {}
    default_cloud: str = "azure-public"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Puts the environment above the file, which comes in as init values; no .env file, no secrets folder."""
        _ = settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _known_cloud(self) -> Self:
        if self.default_cloud not in self.profiles():
            raise ValueError(
                f"default_cloud: no cloud named {self.default_cloud!r}; known: {', '.join(self.profiles())}"
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.authn.mtls is not None and self.authn.mtls.port == self.server.port:
            raise ValueError("authn.mtls.port: is server.port; expected another one, for client certificates only")
        return self

    def profiles(self) -> dict[str, CloudProfile]:
        """Returns the cloud profiles by name: the built-in ones and those of the settings."""
        built_in = {name: CloudSettings(**values) for name, values in _BUILT_IN_CLOUDS.items()}
        return {
            name: CloudProfile(
                name=name,
                authority=cloud.authority,
                arm_endpoint=cloud.arm_endpoint,
                blob_endpoint=cloud.blob_endpoint,
                ca_file=str(cloud.ca_file) if cloud.ca_file else None,
                correlation_id=cloud.correlation_id,
            )
            for name, cloud in {**built_in, **self.clouds}.items()
        }

    def files(self) -> dict[str, Path]:
        """Returns every file the settings name, by setting."""
        named = {
            "server.tls_cert_file": self.server.tls_cert_file,
            "server.tls_key_file": self.server.tls_key_file,
            "vault.role_id_file": self.vault.role_id_file,
            "vault.secret_id_file": self.vault.secret_id_file,
            "vault.ca_file": self.vault.ca_file,
            **{f"clouds.{name}.ca_file": cloud.ca_file for name, cloud in self.clouds.items()},
            **self.ledger.files(),
            **self.authn.files(),
        }
        return {setting: path for setting, path in named.items() if path is not None}

    def warnings(self) -> list[str]:
        """Returns a sentence for each file of secrets that every user of this machine can read or change."""
        secrets = {"server.tls_key_file": self.server.tls_key_file, "vault.secret_id_file": self.vault.secret_id_file}
        return [
            f"{setting}: {path} is open to every user of this machine; run: chmod o-rwx {path}"
            for setting, path in secrets.items()
            if open_to_others(path)
        ]


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

    Raises ConfigurationError with a line for every problem. The files that they name are not looked at.
    """
    try:
        return Settings(**values)
    except SettingsError as error:
        raise ConfigurationError(f"the environment ({ENV_PREFIX}…): {error}; expected JSON for a section") from None
    except ValidationError as error:
        raise ConfigurationError("\n".join(explain(error, Settings, path, ENV_PREFIX))) from None


def check_files(settings: Settings, path: Path, files: Mapping[str, Path]) -> None:
    """Raises ConfigurationError with a line for each of `files`, by setting, and for a ledger, that cannot be used."""
    problems = [f"{path}: {setting}: {problem}" for setting, file in files.items() if (problem := unreadable(file))]
    if problems:
        raise ConfigurationError("\n".join(problems))
    try:
        settings.ledger.database_url()
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _https_url(value: str) -> str:
    parts = urlsplit(value)
    _ = parts.port  # Raises ValueError where it is none.
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an https:// URL without user, query or fragment")
    return value.rstrip("/")


__all__ = ["ENV_PREFIX", "Settings", "check_files", "load_settings", "make_settings", "read_values"]
