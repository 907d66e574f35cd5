"""What every section of the settings is made of."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section: unknown settings are refused, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # To Python true is 1: a port 1, or one second.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError(f"is {str(value).lower()}; expected something else than true or false")
        return value


def https_url(value: str) -> str:
    """Returns `value` without a trailing slash.

    Raises ValueError where it is not an https URL without user, query or fragment.
    """
    parts = urlsplit(value)
    _ = parts.port  # Raises ValueError where it is none.
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an https:// URL without user, query or fragment")
    return value.rstrip("/")


def proxy_url(value: str) -> str:
    """Returns `value`, the URL of a forward proxy, without a trailing slash; "" stands for none.

    Raises ValueError where it is not http://HOST:PORT. What goes through is TLS to the other end all the same.
    """
    if not value:
        return value
    parts = urlsplit(value)
    if (
        parts.scheme != "http"
        or not (parts.hostname and parts.port)
        or "@" in parts.netloc
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be http://HOST:PORT, without user and path")
    return value.rstrip("/")
