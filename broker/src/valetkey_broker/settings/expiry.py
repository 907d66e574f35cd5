"""Settings of what is said about ends of credentials, keys and certificates."""

from pydantic import Field

from valetkey_broker.settings.section import Section


class ExpirySettings(Section):
    """What the log warns of once a day."""

    warn_days: int = Field(default=14, ge=0, le=366)
