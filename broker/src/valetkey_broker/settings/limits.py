"""Settings of the limits against abuse."""

from pydantic import Field

from valetkey_broker.settings.section import Seconds, Section


class LimitsSettings(Section):
    """Abuse limits of one process; with several workers each has its own."""

    # Tokens for one principal: bursts of a pipeline that starts, and what it needs from then on.
    issue_burst: int = Field(default=1000, ge=1)
    issue_per_second: Seconds = 200.0
    # Failed authentications from one address.
    failed_authentication_burst: int = Field(default=20, ge=1)
    failed_authentication_per_second: Seconds = 1.0
    # Open WatchToken streams of one principal.
    streams: int = Field(default=200, ge=1)
