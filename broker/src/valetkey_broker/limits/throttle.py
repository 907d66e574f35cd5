"""Who calls too often: callers that ask for tokens, and addresses that fail to authenticate."""

import math
from enum import Enum

from valetkey_broker.errors import BrokerError, Reason, rate_limited
from valetkey_broker.limits.buckets import TokenBuckets
from valetkey_broker.limits.client_network import network_of
from valetkey_broker.model import Principal
from valetkey_broker.ports import Clock
from valetkey_broker.settings import LimitsSettings

# What the caller is to blame for: an issuer whose keys cannot be had right now is not.
_BLAMED = frozenset({Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_INVALID, Reason.CREDENTIALS_EXPIRED})


class Bucket(Enum):
    """What a principal may do only so often; the values stand in errors."""

    ISSUING = "issuing"


class Throttle:
    """The token buckets of one process."""

    def __init__(self, settings: LimitsSettings, clock: Clock) -> None:
        self._buckets = {
            Bucket.ISSUING: TokenBuckets(per_second=settings.issue_per_second, burst=settings.issue_burst, clock=clock)
        }
        self._failed_authentications = TokenBuckets(
            per_second=settings.failed_authentication_per_second,
            burst=settings.failed_authentication_burst,
            clock=clock,
        )

    def ask(self, principal: Principal, bucket: Bucket = Bucket.ISSUING, cost: int = 1) -> None:
        """Raises RATE_LIMITED where `principal` asks too often for what `bucket` bounds; `cost` is for how many."""
        wait = self._buckets[bucket].take(principal.name, cost)
        if wait:
            raise rate_limited(
                f"{principal.name} asks for tokens too often; use each token until shortly before it ends",
                limit=bucket.value,
                per="principal",
                retry_after=_whole_milliseconds(wait),
            )

    def failed(self, peer: str, error: BrokerError) -> BrokerError:
        """Returns what a failed authentication is told: its error, or RATE_LIMITED after too many from one address.

        Good credentials from that address go on working: others may share it.
        """
        wait = self._failed_authentications.take(network_of(peer)) if error.reason in _BLAMED else 0.0
        if not wait:
            return error
        return rate_limited(
            "too many failed authentications from this address; check the credentials before trying again",
            limit="failed authentications",
            per="address",
            retry_after=_whole_milliseconds(wait),
        )


def _whole_milliseconds(seconds: float) -> float:
    # Rounded up: who comes back then finds a token.
    return math.ceil(seconds * 1000) / 1000
