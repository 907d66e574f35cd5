"""A connector that is going to be registered, whichever way it was given."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from valetkey.cli.auth_methods import SECRET_FIELDS, AuthMethod, option
from valetkey.errors import InvalidArgumentError
from valetkey.times import utc
from valetkey.values import AzureConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What `register` sends. `config` and `secrets` are by the API's names of the fields, `notes` by the client's.

    Without a resource type it is for all of them, or for that of its resource. The auth method is left out where
    `authentication_secret` names a secret that says it.
    """

    name: str
    connector_type: str
    auth_method: AuthMethod | None
    resource_type: str | None
    resource_id: str | None
    config: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    notes: Mapping[str, Any] = field(default_factory=dict)
    authentication_secret: str = ""

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of `Client.create_connector` and `check_connector` but the name and the notes."""
        named = {"authentication_secret": self.authentication_secret} if self.authentication_secret else {}
        return {
            **named,
            "type": self.connector_type,
            "auth_method": self.auth_method.value if self.auth_method else None,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "azure": azure_of(self.config),
            "secrets": self.secrets,
        }

    def command(self) -> str:
        """Returns the command line that registers it, with @FILE in place of each secret."""
        words = ["valetkey", "service-connector", "register", self.name, "--type", self.connector_type]
        words += ["--auth-method", self.auth_method.value] if self.auth_method else []
        for name, value in self.config.items():
            words += [option(name), value]
        words += [word for name in self.secrets for word in (option(name), "@FILE")]
        words += ["--resource-type", self.resource_type] if self.resource_type else []
        if self.resource_id:
            words += ["--resource-id", self.resource_id]
        return shlex.join(words + self._notes())

    def _notes(self) -> list[str]:
        words: list[str] = []
        if description := self.notes.get("description"):
            words += ["--description", description]
        for key, value in self.notes.get("labels", {}).items():
            words += ["--label", f"{key}={value}"]
        if expires := self.notes.get("expire_time"):
            words += ["--expires-at", utc(expires)]
        if tolerance := self.notes.get("expires_skew_tolerance"):
            words += ["--expires-skew-tolerance", f"{tolerance.total_seconds():g}s"]
        return words


def secrets_of(given: Mapping[str, str]) -> dict[str, str]:
    """Returns what is secret of the fields given."""
    return {name: value for name, value in given.items() if name in SECRET_FIELDS}


def config_of(given: Mapping[str, str]) -> dict[str, str]:
    """Returns what is not secret of the fields given."""
    return {name: value for name, value in given.items() if name not in SECRET_FIELDS}


def azure_of(given: Mapping[str, str]) -> AzureConfig:
    """Returns the configuration in fields. Raises InvalidArgumentError for one that this client does not know."""
    known = {each.name for each in fields(AzureConfig)}
    if unknown := [name for name in given if name not in known]:
        raise InvalidArgumentError(f"{option(unknown[0])}: is not known to this version of the client; leave it out")
    return AzureConfig(**{"tenant_id": "", "client_id": "", **given})
