"""As whom a feed asks: files are replaced by another caller's, and no two callers may share a token."""

from collections.abc import Callable

from valetkey.identity import Identity
from valetkey.renewal.attempts import Attempt
from valetkey.renewal.held_token import HeldToken

# Before the first try it is whoever is in the file by then.
_WHOEVER_COMES = b"?"


class AskedAs:
    """The fingerprint of the caller in the identity's file, as a feed last found it; written by its thread alone."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._whose: bytes | None = _WHOEVER_COMES

    def now(self) -> bytes | None:
        """Notes who is in the file, ahead of a try, and returns the fingerprint."""
        self._whose = self._identity.caller_fingerprint()
        return self._whose

    def may_be(self, whose: bytes | None, held: Callable[[], HeldToken | None]) -> bool:
        """Tells whether a feed asks as a caller, and has no token of another one; `whose` is to be read just before.

        A try notes whose it is before it reads the file itself, and brings its token after that. So the note is looked
        at first, and the token then: what either does not show yet is asked for as whoever is in the file by now.
        """
        return self._whose in (_WHOEVER_COMES, whose) and ((found := held()) is None or found.whose == whose)

    def another_is_there(self, attempt: Attempt | None) -> bool:
        """Tells whether the file holds another caller by now, and one that a try could be made as."""
        if self._identity.caller_fingerprint() in (self._whose, None):
            return False
        return attempt is None or attempt.is_of_another(self._identity)
