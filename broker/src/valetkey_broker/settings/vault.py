"""Settings of Vault or OpenBao, which keeps all state."""

import ipaddress
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from valetkey_broker.settings.section import Seconds, Section, https_url, proxy_url

_PATH = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


class VaultSettings(Section):
    """Vault or OpenBao: AppRole login, KV v2 on its own mount."""

    address: str
    # Both mounts are in this namespace; empty stands for the root namespace.
    namespace: str = ""
    mount: str = "valetkey"
    role_id_file: Path
    secret_id_file: Path
    approle_mount: str = "approle"
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
    def _tls_or_loopback(cls, value: str) -> str:
        if value.startswith("http://") and _on_loopback(value):
            https_url(f"https{value.removeprefix('http')}")
            return value.rstrip("/")
        try:
            return https_url(value)
        except ValueError as error:
            raise ValueError(f"{error}; http:// is for an agent or proxy of Vault on 127.0.0.1 only") from None

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        path = value.strip("/")
        if path and not _NAMESPACE.fullmatch(path):
            raise ValueError("must be the path of a namespace, such as team-a/ml")
        return path

    @field_validator("mount", "approle_mount")
    @classmethod
    def _mount(cls, value: str) -> str:
        path = value.removesuffix("/")
        if not _PATH.fullmatch(path):
            raise ValueError("must be a path of letters, digits, hyphens and underscores, such as teams/valetkey")
        return path

    @field_validator("approle_mount")
    @classmethod
    def _below_auth(cls, value: str) -> str:
        if value.startswith("auth/"):
            raise ValueError(f"must be the path below auth/; expected {value.removeprefix('auth/')}")
        return value

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str) -> str:
        return proxy_url(value)

    @model_validator(mode="after")
    def _nothing_without_tls(self) -> Self:
        if self.address.startswith("http://") and (self.ca_file is not None or self.proxy):
            raise ValueError("ca_file and proxy have no use with an address that begins with http://")
        return self


def _on_loopback(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False  # A name, localhost too: what it stands for is not in our hands.
