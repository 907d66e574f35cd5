"""The client secrets of one application: since when each works, on which of Entra's servers, and until when."""

import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from valetkey_broker.model import Secret
from valetkey_devstack.control_plane.entra_error import EntraError

# What Graph gives one without an end: https://learn.microsoft.com/graph/api/application-addpassword
_YEARS = timedelta(days=2 * 365)
_HINT = 3


@dataclass(slots=True)
class Password:
    """A client secret. It works from `works_from` on, and is listed from `listed_from` on (both as the clock says)."""

    value: Secret
    display_name: str | None
    starts: datetime
    ends: datetime
    works_from: float = 0.0
    listed_from: float = 0.0
    every_second_try: bool = False
    tries: int = 0
    key_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def shape(self, *, with_secret: bool = False) -> Mapping[str, Any]:
        """Returns the passwordCredential of Graph; the secret itself is told once, when it is made."""
        return {
            "customKeyIdentifier": None,
            "displayName": self.display_name,
            "endDateTime": _iso(self.ends),
            "hint": self.value.reveal()[:_HINT],
            "keyId": self.key_id,
            "secretText": self.value.reveal() if with_secret else None,
            "startDateTime": _iso(self.starts),
        }


class Passwords:
    """The secrets of the application `client_id`.

    What is made from now on works after `works_after` seconds, and with `every_second_try` only then, as where half of
    Entra's servers have not heard of it; it is listed, and can be removed, after `listed_after` seconds.
    """

    def __init__(self, client_id: str, first: Secret, clock: Callable[[], float]) -> None:
        self._client_id = client_id
        self._clock = clock
        self._all: list[Password] = []
        self.works_after = 0.0
        self.listed_after = 0.0
        self.every_second_try = False
        self.add(first, "by hand")

    def add(
        self, value: Secret, display_name: str | None, *, works_after: float = 0.0, ends: datetime | None = None
    ) -> Password:
        """Adds a secret that works `works_after` seconds from now."""
        now = self._clock()
        starts = datetime.fromtimestamp(now, UTC)
        works_from = now + works_after if works_after else 0.0
        password = Password(value, display_name, starts, ends or starts + _YEARS, works_from=works_from)
        self._all.append(password)
        return password

    def make(self, display_name: str | None, ends: datetime | None) -> Password:
        """Makes a secret as Entra does, and adds it; it works once it got around."""
        text = f"{secrets.token_hex(2)[:3]}8Q~{secrets.token_urlsafe(26)[:34]}"
        password = self.add(Secret(text), display_name, works_after=self.works_after, ends=ends)
        password.listed_from = self._clock() + self.listed_after
        password.every_second_try = self.every_second_try
        return password

    def listed(self) -> Sequence[Password]:
        """Returns the secrets that every server has heard of, in the order they were made."""
        return [each for each in self._all if self._clock() >= each.listed_from]

    def there(self) -> Sequence[Password]:
        """Returns every secret, whether it got around or not."""
        return list(self._all)

    def remove(self, password: Password) -> None:
        """Removes a secret."""
        self._all.remove(password)

    def find(self, secret: Secret) -> Password:
        """Returns a secret by its value. Raises LookupError where there is no such secret."""
        for known in self._all:
            if known.value == secret:
                return known
        raise LookupError("no such client secret")

    def expire(self, secret: Secret) -> None:
        """Ends a secret. Raises LookupError where there is no such secret."""
        self.find(secret).ends = datetime.fromtimestamp(self._clock(), UTC)

    def check(self, presented: str) -> None:
        """Raises EntraError as Entra would for what is presented as a secret."""
        if not presented:
            text = "'client_assertion', 'client_secret' or 'request' is required for 'client_credentials'."
            raise EntraError(401, "invalid_client", 7000216, text)
        now = self._clock()
        for known in self._all:
            if hmac.compare_digest(known.value.reveal().encode(), presented.encode()):
                if now >= known.ends.timestamp():
                    text = f"The provided client secret keys for app '{self._client_id}' are expired."
                    raise EntraError(401, "invalid_client", 7000222, text)
                known.tries += 1
                if now >= known.works_from and not (known.every_second_try and known.tries % 2):
                    return
        raise EntraError(
            401,
            "invalid_client",
            7000215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client "
            f"secret value, not the client secret ID, for a secret added to app '{self._client_id}'.",
        )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
