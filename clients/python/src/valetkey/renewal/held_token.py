"""A token and its lifetime, measured on a clock of this machine that cannot be set (`clock_through_suspend`)."""

from dataclasses import dataclass

from valetkey.clock_through_suspend import now
from valetkey.errors import InvalidArgumentError
from valetkey.identity import CallerFingerprint
from valetkey.token_values import Token, life_of

# What is left of a token when it is handed out no more: a request that begins with it has to end with it.
_LEAST_SECONDS, _LEAST_SHARE = 5.0, 0.1


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A token that came; `born` and `ends` are of the clock `now`, `whose` is the fingerprint of who asked for it."""

    token: Token
    born: float
    ends: float
    whose: CallerFingerprint | None = None
    lent: bool = False  # Of a caller of the same name: whether they are the same, nobody could be asked yet.

    @classmethod
    def of(cls, token: Token, asked: float, whose: CallerFingerprint | None) -> "HeldToken":
        """Returns a token that was asked for at `asked`: it was made no earlier, so it lives at least that long.

        Raises InvalidArgumentError for one that ended before it was here.
        """
        life = life_of(token)
        held = cls(token, asked, asked + life, whose)
        if not held.good():
            took = now() - asked
            raise InvalidArgumentError(
                f"ttl: a token for {token.resource.resource_id} that lives {life:.3g} s is of no use where the answer "
                f"took {took:.3g} s; expected a ttl of some minutes, which grant and broker allow"
            )
        return held

    @property
    def life(self) -> float:
        """How long it lives in all, in seconds."""
        return self.ends - self.born

    @property
    def useful_until(self) -> float:
        """Until when it is handed out."""
        return self.ends - min(_LEAST_SECONDS, self.life * _LEAST_SHARE)

    def good(self) -> bool:
        """Tells whether it can be handed out."""
        return now() < self.useful_until

    def at(self, share: float) -> float:
        """Returns when a share of its life is over."""
        return self.born + share * self.life
