"""Settings of Vault or OpenBao, which keeps all state."""

from pathlib import Path

from pydantic import Field, field_validator

from valetkey_broker.settings.section import Seconds, Section, https_url, proxy_url


class VaultSettings(Section):
    """Vault or OpenBao: AppRole login, KV v2 on its own mount."""

    address: str
    mount: str = Field(default="valetkey", pattern=r"^[a-z0-9-]+$")
    role_id_file: Path
    secret_id_file: Path
    approle_mount: str = Field(default="approle", pattern=r"^[a-z0-9/-]+$")
    ca_file: Path | None = None
    proxy: str = ""
    timeout_seconds: Seconds = 5.0
    # How soon a change made by another replica is seen, and how often everything is read anew.
    poll_seconds: Seconds = 1.0
    resync_seconds: Seconds = 300.0
    # With Vault away, issuing goes on from memory for this long; then it stops.
    max_stale_seconds: Seconds = 3600.0

    @field_validator("address")
    @classmethod
    def _https(cls, value: str) -> str:
        return https_url(value)

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str) -> str:
        return proxy_url(value)
