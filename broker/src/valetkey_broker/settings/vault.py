"""Settings of Vault or OpenBao, which keeps all state."""

import ipaddress
import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from valetkey_broker.settings.section import Seconds, Section, https_url, proxy_url

_PATH = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


Auth = Literal["approle", "kubernetes", "jwt"]
# What is to be given where nothing else is said; see errors.py.
_NEEDED_BY_DEFAULT: dict[str, Any] = {"needed_by_default": True}


class VaultSettings(Section):
    """Vault or OpenBao: a login, by AppRole or with a token that others give the broker, and KV v2 on its own mount."""

    address: str
    # Both mounts are in this namespace; empty stands for the root namespace.
    namespace: str = ""
    mount: str = "valetkey"
    auth: Auth = "approle"
    role_id_file: Path | None = Field(default=None, validate_default=True, json_schema_extra=_NEEDED_BY_DEFAULT)
    secret_id_file: Path | None = Field(default=None, validate_default=True, json_schema_extra=_NEEDED_BY_DEFAULT)
    approle_mount: str = "approle"
    # Of the methods kubernetes and jwt: the role, what is shown for it, and where the method is mounted.
    role: str = Field(default="", validate_default=True)
    jwt_file: Path | None = Field(default=None, validate_default=True)
    auth_mount: str = ""
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

    @field_validator("role_id_file", "secret_id_file")
    @classmethod
    def _ids(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        by_approle = info.data.get("auth", "approle") == "approle"
        if by_approle and value is None:
            raise ValueError("is missing; AppRole needs it, or say in vault.auth how else to log in")
        if value is not None and not by_approle:
            raise ValueError('is for auth = "approle" only')
        return value

    @field_validator("role", "jwt_file", "auth_mount")
    @classmethod
    def _of_tokens(cls, value: Any, info: ValidationInfo) -> Any:
        auth = info.data.get("auth", "approle")
        if auth == "approle":
            if value:
                raise ValueError('is for auth = "kubernetes" or "jwt" only')
        elif not value and info.field_name == "role":
            raise ValueError(f"is missing; the method {auth} logs in for a role")
        elif not value and info.field_name == "jwt_file":
            raise ValueError(f"is missing; the method {auth} shows the token in it")
        return value

    @field_validator("mount", "approle_mount", "auth_mount")
    @classmethod
    def _mount(cls, value: str, info: ValidationInfo) -> str:
        path = value.removesuffix("/")
        if not path and info.field_name == "auth_mount":
            return path
        if not _PATH.fullmatch(path):
            raise ValueError("must be a path of letters, digits, hyphens and underscores, such as teams/valetkey")
        return path

    @field_validator("approle_mount", "auth_mount")
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
