"""Settings of the tokens that are issued."""

from typing import Self

from pydantic import Field, model_validator

from valetkey_broker.settings.section import Seconds, Section


class IssuingSettings(Section):
    """Limits of what is issued."""

    default_ttl_seconds: int = Field(default=900, ge=60)
    # Azure ends a user delegation SAS with its key, after at most 7 days.
    max_ttl_seconds: int = Field(default=12 * 3600, ge=60, le=7 * 24 * 3600)
    delegation_key_seconds: int = Field(default=24 * 3600, ge=3600, le=7 * 24 * 3600)
    # Whether a token ends with the JWT or certificate that it was given for; with its API key it does (docs/adr/0009).
    ttl_within_identity: bool = False
    clock_skew_seconds: int = Field(default=900, ge=0, le=3600)
    # No token outlives its key. Where the key ends first, a token gets its remaining life, if that is at least this
    # part of what it would have got; otherwise a new key is fetched for it.
    min_ttl_share: float = Field(default=0.5, ge=0.1, le=1)
    # How long a connector's list of containers is believed when a request names no account.
    discovery_seconds: Seconds = 300.0
    cloud_timeout_seconds: Seconds = 20.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_ttl_seconds > self.max_ttl_seconds:
            raise ValueError("default_ttl_seconds is over max_ttl_seconds")
        if self.delegation_key_seconds < self.max_ttl_seconds:
            raise ValueError("delegation_key_seconds is under max_ttl_seconds: no token outlives its key")
        return self
