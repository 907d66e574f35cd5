"""The synchronous client: one method per call of the API, plain values in and out."""

import os
import warnings
from collections.abc import Generator, Iterable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from valetkey.callers.base import Interruption, Terms
from valetkey.callers.blocking import BlockingCaller
from valetkey.callers.lazy_methods import blocking
from valetkey.calls import lazy_groups
from valetkey.identity import Identity

if TYPE_CHECKING:
    from valetkey.token_values import Token

DEFAULT_TIMEOUT = 30.0


class Client:
    """A connection to one broker, safe to share between threads; close it, or use it as a context manager.

    Every method raises a ValetKeyError of the fitting kind where its call fails.
    """

    # One line a call, as in AsyncClient; what it asks, takes and returns is in `valetkey.calls`.
    issue_token = blocking(lazy_groups.tokens.issue_token)
    issue_tokens = blocking(lazy_groups.tokens.issue_tokens)

    create_connector = blocking(lazy_groups.connectors.create_connector)
    get_connector = blocking(lazy_groups.connectors.get_connector)
    list_connectors = blocking(lazy_groups.connectors.list_connectors)
    update_connector = blocking(lazy_groups.connectors.update_connector)
    delete_connector = blocking(lazy_groups.connectors.delete_connector)
    verify_connector = blocking(lazy_groups.connectors.verify_connector)
    drop_signing_keys = blocking(lazy_groups.connectors.drop_signing_keys)
    check_connector = blocking(lazy_groups.connector_types.check_connector)
    list_connector_types = blocking(lazy_groups.connector_types.list_connector_types)

    create_secret = blocking(lazy_groups.secrets.create_secret)
    get_secret = blocking(lazy_groups.secrets.get_secret)
    list_secrets = blocking(lazy_groups.secrets.list_secrets)
    update_secret = blocking(lazy_groups.secrets.update_secret)
    rename_secret = blocking(lazy_groups.secrets.rename_secret)
    set_secret_rotation_schedule = blocking(lazy_groups.secrets.set_secret_rotation_schedule)
    delete_secret = blocking(lazy_groups.secrets.delete_secret)

    rotate_credential = blocking(lazy_groups.credentials.rotate_credential)
    rotate_by_itself = blocking(lazy_groups.credentials.rotate_by_itself)
    set_rotation_schedule = blocking(lazy_groups.credentials.set_rotation_schedule)
    get_rotation = blocking(lazy_groups.credentials.get_rotation)
    abort_rotation = blocking(lazy_groups.credentials.abort_rotation)
    rollback_credential = blocking(lazy_groups.credentials.rollback_credential)
    list_credential_versions = blocking(lazy_groups.credentials.list_credential_versions)

    list_resources = blocking(lazy_groups.resources.list_resources)

    who_am_i = blocking(lazy_groups.identity.who_am_i)

    create_grant = blocking(lazy_groups.grants.create_grant)
    get_grant = blocking(lazy_groups.grants.get_grant)
    list_grants = blocking(lazy_groups.grants.list_grants)
    update_grant = blocking(lazy_groups.grants.update_grant)
    delete_grant = blocking(lazy_groups.grants.delete_grant)
    explain_access = blocking(lazy_groups.grants.explain_access)

    list_leases = blocking(lazy_groups.ledger.list_leases)
    list_events = blocking(lazy_groups.ledger.list_events)
    diagnose_token = blocking(lazy_groups.ledger.diagnose_token)
    verify_ledger = blocking(lazy_groups.ledger.verify_ledger)

    list_expiring = blocking(lazy_groups.expiry.list_expiring)
    get_issuing_left = blocking(lazy_groups.expiry.get_issuing_left)
    preview_revocation = blocking(lazy_groups.revocations.preview_revocation)
    create_revocation = blocking(lazy_groups.revocations.create_revocation)
    get_revocation = blocking(lazy_groups.revocations.get_revocation)
    list_revocations = blocking(lazy_groups.revocations.list_revocations)
    lift_revocation = blocking(lazy_groups.revocations.lift_revocation)

    create_api_key = blocking(lazy_groups.api_keys.create_api_key)
    list_api_keys = blocking(lazy_groups.api_keys.list_api_keys)
    rotate_api_key = blocking(lazy_groups.api_keys.rotate_api_key)
    revoke_api_key = blocking(lazy_groups.api_keys.revoke_api_key)

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        client_cert_file: str | os.PathLike[str] | None = None,
        client_key_file: str | os.PathLike[str] | None = None,
        login_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        on_interruption: Interruption | None = None,
    ) -> None:
        """Prepares a connection to `HOST:PORT`; the first call makes it.

        The identity is exactly one of: `api_key`, or `api_key_file` that holds it; `token_file`, which holds a JWT;
        `client_cert_file` and `client_key_file`, in PEM form; `login_file`, which `valetkey login` wrote. `ca_file`
        holds the CA certificates to trust, in PEM form; left out, the well-known ones. Files are read again when they
        change, for they rotate. `timeout` is each call's deadline in seconds, all its tries together;
        `on_interruption` is called with each error that another try is to get over. Raises SettingsError or
        InvalidArgumentError where one of them cannot be used.
        """
        identity = Identity.of(
            api_key=api_key,
            api_key_file=api_key_file,
            token_file=token_file,
            client_cert_file=client_cert_file,
            client_key_file=client_key_file,
            login_file=login_file,
        )
        self._caller = BlockingCaller(
            Terms(endpoint, identity, Path(ca_file) if ca_file else None, timeout, on_interruption)
        )

    @classmethod
    def from_settings(
        cls, *, config_file: str | os.PathLike[str] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> Self:
        """Returns a client for what the environment, the config file and the log-in say; see `load_settings`.

        Raises SettingsError where something is missing or unusable.
        """
        from valetkey.settings import load_settings  # noqa: PLC0415 (who names all in the call needs no TOML)

        settings = load_settings(config_file=config_file)
        for warning in settings.warnings:
            warnings.warn(warning, stacklevel=2)
        return cls(settings.endpoint, ca_file=settings.ca_file, timeout=timeout, **settings.identity.arguments())

    def __repr__(self) -> str:
        return f"Client({self._caller.terms.endpoint!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        self._caller.close()

    def watch_token(
        self,
        resource: str,
        permissions: Iterable[str],
        *,
        ttl: timedelta | None = None,
        connector: str | None = None,
        source_ip: str | None = None,
        purpose: str | None = None,
        on_interruption: Interruption | None = None,
    ) -> "Generator[Token, None, None]":
        """Yields a SAS token at once and a fresh one ahead of each expiry; `ttl` is each token's life.

        The call is made when the first token is asked for, and has no deadline. Closing the generator ends it.
        A restart of the broker, a cut of the network and the end of a token or certificate that was renewed in its
        file are got over: a new stream begins, with a token. Such are tried for as long as the last token lives, and
        at least 10 s; `on_interruption` is called with the error of each. Raises WatchEndedError where the broker ends
        the stream for another reason, and the last interruption's error where it lasted too long.
        """
        from valetkey.callers.blocking_streams import watch  # noqa: PLC0415 (loads what most calls do without)
        from valetkey.calls.streams import watch_request  # noqa: PLC0415

        return watch(
            self._caller,
            watch_request(resource, permissions, ttl, connector, source_ip, purpose),
            on_interruption,
        )
