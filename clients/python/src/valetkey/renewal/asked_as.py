"""As whom a feed asks: files are replaced by another caller's, and no two callers may share a token."""

from collections.abc import Callable
from dataclasses import replace

from valetkey.errors import ValetKeyError
from valetkey.identity import CallerFingerprint, Identity
from valetkey.renewal import failures
from valetkey.renewal.attempts import Attempt
from valetkey.renewal.held_token import HeldToken

# Before the first try it is whoever is in the file by then.
_WHOEVER_COMES = CallerFingerprint(b"?")


class AskedAs:
    """The fingerprint of the caller in the identity's file, as a feed last found it; written by its thread alone."""

    def __init__(self, identity: Identity, spare: HeldToken | None) -> None:
        """`spare` is the token of another feed, for `serves_on`."""
        self._identity = identity
        self._spare = spare
        self._whose: CallerFingerprint | None = _WHOEVER_COMES

    def now(self) -> CallerFingerprint | None:
        """Notes who is in the file, ahead of a try, and returns the fingerprint."""
        self._whose = self._identity.caller_fingerprint()
        return self._whose

    def may_be(self, whose: CallerFingerprint | None, held: Callable[[], HeldToken | None]) -> bool:
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

    def left_over(self, held: HeldToken | None) -> HeldToken | None:
        """Returns what a feed has, or could serve on yet, for one that takes its place."""
        return held if held is not None and held.good() else self._spare

    def told(self) -> None:
        """Notes that a broker has said who shows what is in the file: what it said counts from then on."""
        self._spare = None

    def serves_on(self, error: ValetKeyError, held: HeldToken | None) -> HeldToken | None:
        """Returns what is held after a try that failed: the spare token where nobody could be asked who is in the file.

        A projected token is another one each hour, and says that it is the same caller's as the one before. The broker
        would know; while it is away, that has to do. Once it has said no, nothing is lent, nor what was lent served on.
        """
        if failures.refused(error):
            self.told()
            return None if held is not None and held.lent else held
        spare, whose = self._spare, self._whose
        if spare is None or (held is not None and held.good()) or not failures.nobody_was_asked(error):
            return held
        self._spare = None
        return replace(spare, whose=whose, lent=True) if spare.good() and of_same_name(spare, whose) else held


def of_same_name(held: HeldToken, whose: CallerFingerprint | None) -> bool:
    """Tells whether a token was issued to who says to be the same caller as `whose`, unchecked."""
    return whose is not None and None is not whose.named == (held.whose.named if held.whose else None)
