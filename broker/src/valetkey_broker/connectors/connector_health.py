"""Which connectors have a credential that their cloud refuses: what this replica has heard, stored nowhere."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog
from cachetools import LRUCache

from valetkey_broker.connectors.new_credential_commands import new_credential_command
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector
from valetkey_broker.model.connector_health import Health
from valetkey_broker.ports import AuthMethod, Clock

T = TypeVar("T")

# Tokens of Entra outlive the credential they were given for: one question is refused while another still works, and
# back and forth it goes. That is told once an hour.
_TOLD_AGAIN_SECONDS = 3600.0
_MOST_CONNECTORS = 100_000


@dataclass(slots=True)
class _Heard:
    way_in: str
    health: Health
    told_at: float = float("-inf")


class ConnectorHealth:
    """Hears how the cloud answers for stored connectors. With another credential it is as if nobody had asked."""

    def __init__(self, auth_methods: Mapping[str, AuthMethod], clock: Clock) -> None:
        self._auth_methods = auth_methods
        self._clock = clock
        self._heard: LRUCache[str, _Heard] = LRUCache(_MOST_CONNECTORS)  # by the connector's uid
        self._log = structlog.get_logger()

    def of(self, connector: Connector) -> Health | None:
        """Returns how a connector is with the credential that it has now; None where nobody has asked the cloud yet."""
        heard = self._heard.get(connector.uid)
        return heard.health if heard is not None and heard.way_in == connector.way_in else None

    async def following(self, connector: Connector, question: Awaitable[T], *, proves: bool = True) -> T:
        """Returns the answer to a question, or raises its error, and notes what it tells of the credential.

        An answer says that it is good only where the question `proves` that: it is asked with the credential.
        """
        try:
            answer = await question
        except BrokerError as error:
            if error.reason is Reason.CLOUD_CREDENTIAL_REJECTED:
                self._refused(connector, error)
            raise
        if proves:
            self._taken(connector)
        return answer

    def keys_prove(self, connector: Connector) -> bool:
        """Tells whether the connector's signing keys come from the cloud: others are at hand, good or not."""
        return self._auth_methods[connector.auth_method].fetches_keys

    def _refused(self, connector: Connector, error: BrokerError) -> None:
        now = self._clock()
        heard = self._of_credential(connector, now)
        if not heard.health.healthy:
            return
        code = error.metadata.get("azure_code", "")
        mend = new_credential_command(connector, self._auth_methods[connector.auth_method], code) or error.mend
        heard.health = Health(healthy=False, since=now, reason=error.reason.name, message=error.message, mend=mend)
        if now - heard.told_at >= _TOLD_AGAIN_SECONDS:
            heard.told_at = now
            self._log.error(
                "the cloud refuses the credential of a connector: it gets no new keys, and soon no tokens",
                connector=connector.name,
                secret=connector.secret or None,
                reason=error.reason.name,
                azure_code=code or None,
                why=error.message,
                mend=mend,
            )

    def _taken(self, connector: Connector) -> None:
        now = self._clock()
        heard = self._of_credential(connector, now)
        if heard.health.healthy:
            return
        if heard.told_at >= heard.health.since:
            self._log.info(
                "the cloud takes the credential of a connector again",
                connector=connector.name,
                unhealthy_seconds=round(now - heard.health.since),
            )
        heard.health = Health(healthy=True, since=now)

    def _of_credential(self, connector: Connector, now: float) -> _Heard:
        heard = self._heard.get(connector.uid)
        if heard is None or heard.way_in != connector.way_in:
            heard = self._heard[connector.uid] = _Heard(connector.way_in, Health(healthy=True, since=now))
        return heard
