"""One log-in: whose, proved by what, and until when."""

import secrets
import time
from dataclasses import dataclass, field, replace

# Seconds. Whatever the token would allow, people prove again once a working day who they are.
LONGEST = 8 * 3600
IDLE = 30 * 60
# So old may the note of the last use be: not every answer has to bring the cookies anew.
STALE = 60


def now() -> float:
    """Returns the time, in Unix seconds: that of sessions alone, which tests can set."""
    return time.time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One log-in. `bearer` is the API key or access token that the broker is shown; the times are Unix seconds.

    `ends` is when it ends even if it is used: with its token, or LONGEST after it began.
    """

    id: str
    bearer: str = field(repr=False)
    principal: str
    name: str
    roles: tuple[str, ...]
    authentication: str
    begun: int
    seen: int
    ends: int

    @classmethod
    def begin(
        cls,
        bearer: str,
        principal: str,
        roles: tuple[str, ...],
        authentication: str,
        token_ends: float | None,
        *,
        name: str = "",
    ) -> "Session":
        """Returns a new session; `token_ends` is when the broker takes the bearer no longer, None for never.

        `name` is what the person is called on pages, the principal if left out.
        """
        began = int(now())
        ends = began + LONGEST if token_ends is None else min(began + LONGEST, int(token_ends))
        return cls(
            id=secrets.token_urlsafe(18),
            bearer=bearer,
            principal=principal,
            name=name or principal,
            roles=roles,
            authentication=authentication,
            begun=began,
            seen=began,
            ends=ends,
        )

    def why_over(self) -> str:
        """Returns why it counts no longer: `idle`, `long` or `token`; empty while it counts."""
        moment = now()
        if moment >= self.ends:
            return "long" if self.ends - self.begun >= LONGEST else "token"
        return "idle" if moment >= self.seen + IDLE else ""

    def used(self) -> "Session":
        """Returns it as used just now; the same one where that was noted lately."""
        moment = int(now())
        return replace(self, seen=moment) if moment - self.seen >= STALE else self
