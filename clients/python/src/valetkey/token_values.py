"""A token and what it is for: plain, immutable values. Times are aware datetimes in UTC."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Resource:
    """What a connector reaches or a token is for: `az://CONTAINER[/PATH]`, its storage account and its full URL."""

    resource_type: str
    resource_id: str
    account: str
    url: str


@dataclass(frozen=True, slots=True)
class Token:
    """One issued SAS token. Its repr leaves the token out; `expire_time` may lie earlier than asked.

    `grant` is the name of the grant that allowed it. `ttl_limited_by` says why it lives shorter than asked for, or
    than the broker's default: `grant-max-ttl`, `grant-end`, `identity-end` or `key-end`; empty where it does not.
    `answer_time` is what the broker's clock said as it answered, None from brokers that do not say it.
    """

    lease_id: str
    resource: Resource
    permissions: tuple[str, ...]
    start_time: datetime
    expire_time: datetime
    connector: str
    credential_version: int
    sas_token: str = field(repr=False)
    grant: str = ""
    ttl_limited_by: str = ""
    answer_time: datetime | None = None

    @property
    def sas(self) -> str:
        """The token, without a leading `?`: short for `sas_token`."""
        return self.sas_token

    @property
    def url(self) -> str:
        """URL of what the token is for, without the token."""
        return self.resource.url

    @property
    def expires_at(self) -> datetime:
        """When it ends, by the broker's clock: short for `expire_time`."""
        return self.expire_time

    @property
    def sas_url(self) -> str:
        """URL of what the token is for, with the token as its query: as secret as the token itself."""
        return f"{self.resource.url}?{self.sas_token}"


def life_of(token: Token) -> float:
    """Returns how long a token that came just now lives, in seconds."""
    # Brokers of before `answer_time` leave no choice but this machine's own clock.
    return (token.expire_time - (token.answer_time or datetime.now(UTC))).total_seconds()
