"""Where people log in to a broker."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from valetkey.errors import ValetKeyError


@dataclass(frozen=True, slots=True)
class LoginOffer:
    """An OIDC issuer that a broker has people log in at, and as which client of the issuer.

    `audience` is that of the access tokens that the broker takes; with `send_audience` the issuer is told it besides
    the scopes.
    """

    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    audience: str
    send_audience: bool = False

    def __post_init__(self) -> None:
        """Raises ValetKeyError for an issuer that nobody should be sent to."""
        if not is_https(self.issuer) or "?" in self.issuer:
            raise ValetKeyError(
                f"log-in: the broker names the issuer {self.issuer!r}; expected an https:// URL without user and query"
            )

    def request(self) -> dict[str, str]:
        """Returns what each kind of log-in sends to the issuer."""
        wanted = {"client_id": self.client_id, "scope": " ".join(self.scopes)}
        return {**wanted, "audience": self.audience} if self.send_audience else wanted

    def differences(self, other: "LoginOffer") -> str:
        """Returns what another offer has in place of this one's, in words; empty where they are the same."""
        fields = (
            ("issuer", self.issuer, other.issuer),
            ("client id", self.client_id, other.client_id),
            ("scopes", " ".join(self.scopes), " ".join(other.scopes)),
            ("audience", self.audience, other.audience),
            ("audience sent", str(self.send_audience), str(other.send_audience)),
        )
        return "; ".join(f"{name}: was {old}, is now {new}" for name, old, new in fields if old != new)


def is_https(url: object) -> bool:
    """Tells whether it is an https URL with a host, and without user and fragment."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment
