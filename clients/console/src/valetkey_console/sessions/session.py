"""One log-in: whose, proved by what, and until when."""

import secrets
import time
from dataclasses import dataclass, field, replace

# Seconds. Whatever the token would allow, people prove again once a working day who they are.
LONGEST = 8 * 3600
IDLE = 30 * 60
# So old may the note of the last use be: not every answer has to bring the cookies anew.
STALE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One log-in. `bearer` is the API key or access token that the broker is shown; the times are Unix seconds.

    `ends` is when it ends even if it is used: with its token, or LONGEST after it began.
    """

    id: str
    bearer: str = field(repr=False)
    principal: str
    roles: tuple[str, ...]
    authentication: str
    begun: int
    seen: int
    ends: int

    @classmethod
    def begin(
        cls, bearer: str, principal: str, roles: tuple[str, ...], authentication: str, token_ends: float | None
    ) -> "Session":
        """Returns a new session; `token_ends` is when the broker takes the bearer no longer, None for never."""
        now = int(time.time())
        ends = now + LONGEST if token_ends is None else min(now + LONGEST, int(token_ends))
        return cls(
            id=secrets.token_urlsafe(18),
            bearer=bearer,
            principal=principal,
            roles=roles,
            authentication=authentication,
            begun=now,
            seen=now,
            ends=ends,
        )

    def why_over(self) -> str:
        """Returns why it counts no longer: `idle`, `long` or `token`; empty while it counts."""
        now = time.time()
        if now >= self.ends:
            return "long" if self.ends - self.begun >= LONGEST else "token"
        return "idle" if now >= self.seen + IDLE else ""

    def used(self) -> "Session":
        """Returns it as used just now; the same one where that was noted lately."""
        now = int(time.time())
        return replace(self, seen=now) if now - self.seen >= STALE else self
