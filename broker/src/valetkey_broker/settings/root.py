"""All settings: one section each, with what must hold between them."""

from pathlib import Path
from typing import Any, Self

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from valetkey_broker.model import CloudProfile
from valetkey_broker.settings.authn import AuthnSettings
from valetkey_broker.settings.clouds import BUILT_IN_CLOUDS, CloudSettings
from valetkey_broker.settings.errors import open_to_others
from valetkey_broker.settings.expiry import ExpirySettings
from valetkey_broker.settings.issuing import IssuingSettings
from valetkey_broker.settings.ledger import LedgerSettings
from valetkey_broker.settings.limits import LimitsSettings
from valetkey_broker.settings.logging import LoggingSettings
from valetkey_broker.settings.metrics import MetricsSettings
from valetkey_broker.settings.server import ServerSettings
from valetkey_broker.settings.vault import VaultSettings

ENV_PREFIX = "VALETKEY_BROKER_"


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
    expiry: ExpirySettings = ExpirySettings()
    metrics: MetricsSettings = MetricsSettings()
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

    @field_validator("clouds", mode="before")
    @classmethod
    def _built_in(cls, value: Any) -> Any:
        """Lets a section of a built-in cloud say what differs, and nothing else."""
        if not isinstance(value, dict):
            return value
        return {
            name: {**BUILT_IN_CLOUDS.get(name, {}), **cloud} if isinstance(cloud, dict) else cloud
            for name, cloud in value.items()
        }

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

    @model_validator(mode="after")
    def _metrics_apart(self) -> Self:
        others = [self.server.port, self.authn.mtls.port if self.authn.mtls is not None else None]
        if self.metrics.port is not None and self.metrics.port in others:
            raise ValueError("metrics.port: is a port that serves callers; expected another one, for metrics only")
        return self

    def profiles(self) -> dict[str, CloudProfile]:
        """Returns the cloud profiles by name: the built-in ones and those of the settings."""
        built_in = {name: CloudSettings(**values) for name, values in BUILT_IN_CLOUDS.items()}
        return {
            name: CloudProfile(
                name=name,
                authority=cloud.authority,
                arm_endpoint=cloud.arm_endpoint,
                graph_endpoint=cloud.graph_endpoint,
                blob_endpoint=cloud.blob_endpoint,
                ca_file=str(cloud.ca_file) if cloud.ca_file else None,
                correlation_id=cloud.correlation_id,
                proxy=cloud.proxy,
                emulator=cloud.emulator,
                implicit_sources=cloud.implicit_sources,
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
            "vault.jwt_file": self.vault.jwt_file,
            "vault.ca_file": self.vault.ca_file,
            **{f"clouds.{name}.ca_file": cloud.ca_file for name, cloud in self.clouds.items()},
            **self.ledger.files(),
            **self.authn.files(),
        }
        return {setting: path for setting, path in named.items() if path is not None}

    def warnings(self) -> list[str]:
        """Returns a sentence for each file of secrets that everybody can read or change, and each role of nobody's."""
        secrets = {"server.tls_key_file": self.server.tls_key_file, "vault.secret_id_file": self.vault.secret_id_file}
        exposed = [
            f"{setting}: {path} is open to every user of this machine; run: chmod o-rwx {path}"
            for setting, path in secrets.items()
            if path is not None and open_to_others(path)
        ]
        return exposed + self.authn.warnings()
