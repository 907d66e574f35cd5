"""The few blocking calls that the broker makes to Vault: all of hvac and requests is behind this seam."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import hvac
from hvac import exceptions

from valetkey_broker.adapters.vault.bounded_sockets import PlainTransport
from valetkey_broker.adapters.vault.bulk_reads import QuickReads
from valetkey_broker.adapters.vault.errors import UnexpectedAnswerError
from valetkey_broker.adapters.vault.http_session import Session, Transport
from valetkey_broker.adapters.vault.login_methods import end_of, login_method
from valetkey_broker.adapters.vault.setup_warnings import deletes_versions
from valetkey_broker.model import Secret
from valetkey_broker.ports import CasMismatchError, Document
from valetkey_broker.settings import VaultSettings
from valetkey_broker.watched_files import trusted_cas

_CAS_MISMATCH = "check-and-set parameter did not match"


@dataclass(frozen=True, slots=True)
class Token:
    """A login. It lapses `lease_seconds` after it was given or renewed; 0 stands for never."""

    value: Secret
    lease_seconds: float
    renewable: bool


class VaultClient:
    """Calls Vault; may be used from `connections` threads at once.

    Every method raises what errors.py explains: OSError (as requests does), hvac's VaultError, CredentialFileError,
    ConfigurationError for a CA file, UnexpectedAnswerError. Nothing is taken from the environment: no VAULT_TOKEN, no
    proxy, no .netrc.
    """

    def __init__(self, settings: VaultSettings, connections: int) -> None:
        self._settings = settings
        self._session = Session()
        self._session.trust_env = False
        if settings.proxy:
            self._session.proxies = {"https": settings.proxy}
        trust = trusted_cas("the CAs of Vault", "vault.ca_file", settings.ca_file)
        self._session.mount("https://", Transport(trust, connections))
        self._session.mount("http://", PlainTransport(pool_connections=1, pool_maxsize=connections))
        self._quick = QuickReads(settings, trust)
        self._method = login_method(settings)
        self._hvac = self._client_with("")
        self._kv = self._hvac.secrets.kv.v2

    def use(self, token: Token) -> None:
        """Makes the calls that begin from now on with `token`."""
        self._hvac.token = token.value.reveal()

    def log_in(self) -> Token:
        """Logs in with what the files of the login have now, or had before they went bad."""
        return _token(self._method.log_in(self._hvac))

    def secret_id_end(self) -> datetime | None:
        """Returns when the secret id in the file ends, None where it never does, or the login needs none."""
        answer = self._method.secret_id_end(self._hvac)
        return None if answer is None else end_of(_data(answer))

    def renew(self) -> Token:
        """Renews the token in use."""
        return _token(self._hvac.auth.token.renew_self())

    def revoke(self, token: Token) -> None:
        """Revokes `token`, whichever is in use."""
        self._client_with(token.value.reveal()).auth.token.revoke_self()

    def capabilities(self, paths: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Returns what the token in use may do at `paths`."""
        data = _data(self._hvac.sys.get_capabilities(list(paths)))
        return {path: data.get(path) or () for path in paths}

    def deletes_after(self) -> str:
        """Returns the age at which the engine deletes versions, such as "720h0m0s"; "" where it never does."""
        age = str(_data(self._kv.read_configuration(mount_point=self._settings.mount)).get("delete_version_after", ""))
        return "" if age == "0s" else age

    def read(self, path: str, version: int | None) -> Document | None:
        """Returns a version (None: the newest); None where there is none or its data is gone."""
        try:
            answer = self._kv.read_secret_version(
                path, version=version, mount_point=self._settings.mount, raise_on_deleted_version=True
            )
        except exceptions.InvalidPath as error:
            _check_that_nothing_is_there(error)
            return None
        data = _data(answer)
        document, number = data.get("data"), _number(data.get("metadata"), "version")
        if not isinstance(document, dict | None):
            raise UnexpectedAnswerError(_UNEXPECTED)
        return None if document is None else Document(version=number, data=document)

    def read_quickly(self, paths: Sequence[str]) -> Mapping[str, Document]:
        """Returns those of the newest documents at `paths` that are there and come without ado; see bulk_reads.py."""
        return self._quick.read(paths, Secret(str(self._hvac.token)))

    def write(self, path: str, data: Mapping[str, Any], expected: int) -> int:
        """Writes the version after `expected`. Raises CasMismatchError where another is the newest."""
        mismatch = False
        try:
            answer = self._kv.create_or_update_secret(
                path, secret=dict(data), cas=expected, mount_point=self._settings.mount
            )
        except exceptions.InvalidRequest as error:
            if not any(_CAS_MISMATCH in str(text) for text in error.errors or ()):
                raise
            mismatch = True
        if mismatch:  # raised out here: the exception of hvac is not to hang on it
            raise CasMismatchError(f"{path}: the newest version is not {expected}; nothing was written")
        written = _data(answer)
        if deletion := written.get("deletion_time"):
            # Of the entry itself, or of the engine since it was looked at.
            deletes_versions(path=f"{self._settings.mount}/{path}", at=str(deletion))
        return _number(written, "version")

    def newest(self, path: str) -> int:
        """Returns the number of the newest version; 0 where there never was one."""
        try:
            answer = self._kv.read_secret_metadata(path, mount_point=self._settings.mount)
        except exceptions.InvalidPath as error:
            _check_that_nothing_is_there(error)
            return 0
        return _number(_data(answer), "current_version")

    def names(self, folder: str) -> Sequence[str]:
        """Returns the names right below `folder`, sorted, without its own folders."""
        try:
            answer = self._kv.list_secrets(folder, mount_point=self._settings.mount)
        except exceptions.InvalidPath as error:
            _check_that_nothing_is_there(error)
            return []
        keys = _data(answer).get("keys")
        if not isinstance(keys, list):
            raise UnexpectedAnswerError(_UNEXPECTED)
        return sorted(key for key in keys if not key.endswith("/"))

    def destroy(self, path: str, versions: Sequence[int]) -> None:
        """Destroys the data of `versions`; Vault passes over those that are not there."""
        if not versions:
            return
        try:
            self._kv.destroy_secret_versions(path, list(versions), mount_point=self._settings.mount)
        except exceptions.InvalidPath as error:
            _check_that_nothing_is_there(error)

    def _client_with(self, token: str) -> hvac.Client:
        return hvac.Client(
            url=self._settings.address,
            namespace=self._settings.namespace or None,
            # Neither may be None, which would make hvac look into the environment: "" and () are "none".
            token=token,
            cert=(),
            session=self._session,
            timeout=self._settings.timeout_seconds,
            # A redirect would carry the token to another host.
            allow_redirects=False,
        )

    def close(self) -> None:
        """Closes the connections and forgets the token."""
        self._hvac.token = ""
        self._quick.close()
        self._session.close()


def _check_that_nothing_is_there(error: exceptions.InvalidPath) -> None:
    """Raises for a 404 by which Vault says something else, such as that the mount is missing; or that is not Vault's.

    Neither must look like an empty store: a gateway says 404, too, while it knows no Vault to ask.
    """
    try:
        said = json.loads(error.text or "")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise UnexpectedAnswerError(_UNEXPECTED)
    if said.get("errors"):
        raise error
    # Deleted versions are shown, without their data.
    if "errors" not in said and "data" not in said:
        raise UnexpectedAnswerError(_UNEXPECTED)


def _token(answer: Any) -> Token:
    auth: Any = answer.get("auth") if isinstance(answer, dict) else None
    try:
        return Token(Secret(auth["client_token"]), float(auth["lease_duration"]), bool(auth["renewable"]))
    except (KeyError, TypeError, ValueError):
        pass
    raise UnexpectedAnswerError(_UNEXPECTED)


def _data(answer: Any) -> dict[str, Any]:
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise UnexpectedAnswerError(_UNEXPECTED)
    return data


def _number(data: Any, key: str) -> int:
    number = data.get(key) if isinstance(data, dict) else None
    if not isinstance(number, int):
        raise UnexpectedAnswerError(_UNEXPECTED)
    return number


_UNEXPECTED = (
    "the answer is not that of a KV v2 engine; expected the address of a node or load balancer that does not "
    "redirect (vault.address), and an engine of version 2 (vault.mount)"
)
