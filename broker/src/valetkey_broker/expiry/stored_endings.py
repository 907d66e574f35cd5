"""Ends of what is stored: connectors, named secrets, API keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from valetkey_broker.connectors.connector_draft import end_of
from valetkey_broker.connectors.new_credential_commands import new_credential_command, secret_command
from valetkey_broker.model import ApiKey, Connector, Credential, NamedSecret
from valetkey_broker.model.ending import Ending, EndingKind
from valetkey_broker.ports import AuthMethod
from valetkey_broker.state.memory import Memory

_OPERATOR, _ITSELF, _BROKER = "the operator", "the certificate", "the broker"
_NOBODY = "nobody has said when"


class StoredEndings:
    """A source (see endings.py), out of memory alone."""

    def __init__(
        self,
        memory: Memory,
        auth_methods: Mapping[str, AuthMethod],
        known: Callable[[Connector], Credential | None],
    ) -> None:
        """`known` gives the credential in use of a connector if it is in memory: it may know its end itself."""
        self._memory = memory
        self._auth_methods = auth_methods
        self._known = known

    async def __call__(self) -> Iterable[Ending]:
        """Returns what ends of it."""
        return self.now()

    def now(self) -> list[Ending]:
        """Returns what ends of it; for those who cannot wait."""
        memory = self._memory
        own = [each for each in memory.connectors.values() if not each.secret_uid or each.expires_at]
        return [
            *(found for each in own if (found := self._of_connector(each))),
            *(found for each in memory.secrets.values() if (found := self._of_secret(each))),
            *(_of_key(each.key) for each in memory.keys_by_name.values()),
        ]

    def _of_connector(self, connector: Connector) -> Ending | None:
        method = self._auth_methods[connector.auth_method]
        itself = self._end_of(connector)
        ends = end_of(connector.expires_at, None) if itself is None else min(itself, connector.expires_at or itself)
        mend = new_credential_command(connector, method, certificate=itself is not None)
        noting = f"valetkey service-connector update {connector.name} --expires-at DATE"
        return _ending(
            EndingKind.CONNECTOR, connector.name, ends, itself, mend, noting, method, connector.expires_skew_tolerance
        )

    def _of_secret(self, secret: NamedSecret) -> Ending | None:
        method = self._auth_methods[secret.auth_method]
        itself = next(self._ends_of_users(secret), None)
        known = [each for each in (secret.expires_at, itself) if each is not None]
        certificate = "client_certificate" if "client_certificate" in secret.secret_fields else ""
        field = certificate or next(iter(secret.secret_fields), "")
        if certificate and itself is None:
            itself = secret.expires_at
        mend = secret_command(secret.name, field) if field else ""
        noting = f"valetkey secret update {secret.name} --expires-at DATE"
        return _ending(EndingKind.SECRET, secret.name, min(known, default=None), itself, mend, noting, method, None)

    def _ends_of_users(self, secret: NamedSecret) -> Iterator[datetime]:
        """Gives the end that the value says itself, where a connector has it in memory: secrets stored by earlier
        versions of the broker were not looked at.
        """
        for name in self._memory.named_secrets.users(secret.uid):
            connector = self._memory.connectors.get(name)
            if connector is not None and (end := self._end_of(connector)) is not None:
                yield end

    def _end_of(self, connector: Connector) -> datetime | None:
        credential = self._known(connector)
        return credential.value.expires_at if credential is not None else None


def _ending(
    kind: EndingKind,
    name: str,
    ends: datetime | None,
    itself: datetime | None,
    mend: str,
    noting: str,
    method: AuthMethod,
    skew: int | None,
) -> Ending | None:
    margin = timedelta(seconds=skew or 0)
    if ends is not None:
        by_itself = itself is not None and ends == itself
        # What is noted down goes with the secret that it was noted for.
        command = mend if by_itself or not mend else f"{mend} --expires-at DATE"
        return Ending(kind, name, ends, _ITSELF if by_itself else _OPERATOR, command, margin)
    if method.fetches_keys and mend:
        return Ending(kind, name, None, _NOBODY, noting)
    return None  # An account's key has no end, and what the broker itself is in Azure is not its to renew.


def _of_key(key: ApiKey) -> Ending:
    mend = f"valetkey api-key rotate {key.name} --overlap 1h"
    return Ending(EndingKind.API_KEY, key.name, key.expires_at, _BROKER, mend)
