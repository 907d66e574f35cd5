"""How the broker logs in to Vault: by AppRole, or with the token that Kubernetes, or another issuer, gives it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import hvac

from valetkey_broker.adapters.vault.errors import CredentialFileError, UnexpectedAnswerError
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import Secret
from valetkey_broker.settings import VaultSettings
from valetkey_broker.watched_files import WatchedFiles

_EXPECTED = "expected one line, as Vault printed it"
_EXPECTED_JWT = "expected one line, a JWT"


class LoginMethod(Protocol):
    """One way in; what is shown is read from its files at each login, so that they can be renewed in place."""

    def log_in(self, client: hvac.Client) -> Any:
        """Returns Vault's answer. Raises as VaultClient does."""
        ...

    def secret_id_end(self, client: hvac.Client) -> Any:
        """Returns Vault's answer to when the secret id ends; None where the method has none."""
        ...


def login_method(settings: VaultSettings) -> LoginMethod:
    """Returns the method that the settings name."""
    return AppRole(settings) if settings.auth == "approle" else ByToken(settings)


class AppRole:
    """Shows a role id and a secret id."""

    def __init__(self, settings: VaultSettings) -> None:
        self._mount = settings.approle_mount
        self._role = ""
        # Both in one: a role id of one role and a secret id of another are of no use.
        self._ids = _followed(
            {"vault.role_id_file": settings.role_id_file, "vault.secret_id_file": settings.secret_id_file}, _EXPECTED
        )

    def log_in(self, client: hvac.Client) -> Any:
        """Logs in with the ids as the files have them now, or had them before they went bad."""
        role_id, secret_id = _current(self._ids)
        answer = client.auth.approle.login(
            role_id.reveal(), secret_id.reveal(), use_token=False, mount_point=self._mount
        )
        metadata = (answer.get("auth") or {}).get("metadata") if isinstance(answer, dict) else None
        self._role = str(metadata.get("role_name", "")) if isinstance(metadata, dict) else ""
        return answer

    def secret_id_end(self, client: hvac.Client) -> Any:
        """Asks Vault about the secret id in the file. Vault has to let the broker look."""
        return client.auth.approle.read_secret_id(self._role, self._ids.current()[1].reveal(), mount_point=self._mount)


class ByToken:
    """Shows a JWT for a role: a service account's, which Vault has Kubernetes review, or one whose issuer it knows.

    Kubernetes' method and that for JWTs take the same call.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._mount = settings.auth_mount or settings.auth
        self._role = settings.role
        self._token = _followed({"vault.jwt_file": settings.jwt_file}, _EXPECTED_JWT)

    def log_in(self, client: hvac.Client) -> Any:
        """Logs in with the token as its file has it now, or had it before it went bad."""
        (token,) = _current(self._token)
        return client.auth.kubernetes.login(self._role, token.reveal(), use_token=False, mount_point=self._mount)

    def secret_id_end(self, client: hvac.Client) -> None:
        """Has none: such tokens are renewed by who gives them."""
        _ = client


def end_of(said: Mapping[str, Any]) -> datetime | None:
    """Returns the end in what Vault says of a secret id, None for never. Raises UnexpectedAnswerError."""
    try:
        end = datetime.fromisoformat(str(said.get("expiration_time", "")))
    except ValueError:
        raise UnexpectedAnswerError("an answer without the end of the secret id") from None
    return end if end.year > 1 else None  # 0001-01-01 stands for never.


def _followed(files: Mapping[str, Any], expected: str) -> WatchedFiles[Sequence[Secret]]:
    def make(contents: Mapping[str, bytes]) -> Sequence[Secret]:
        return [_one(setting, content, expected) for setting, content in contents.items()]

    return WatchedFiles("the broker's login to Vault", files, make, check_seconds=0.0)


def _current(files: WatchedFiles[Sequence[Secret]]) -> Sequence[Secret]:
    try:
        return files.current()
    except ConfigurationError as error:
        raise CredentialFileError(str(error)) from None


def _one(setting: str, content: bytes, expected: str) -> Secret:
    problem = "is empty"
    try:
        if value := content.decode("utf-8").strip():
            return Secret(value)
    except UnicodeDecodeError:
        problem = "is not text"
    raise ConfigurationError(f"{setting}: the file {problem}; {expected}")
