"""The session of a request: read from its cookies, and kept in those of its answer."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from starlette.responses import Response

from valetkey_console.sessions.cookies import SealedCookie
from valetkey_console.sessions.sealing import Seal
from valetkey_console.sessions.session import Session

# Log-outs that are remembered at once.
_MOST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """The session that a request's cookies hold; without one, `over` says why it ended, if there was one."""

    session: Session | None
    over: str = ""


class Sessions:
    """Reads and keeps sessions.

    The browser has them, and not the console, so a copy of the cookies would outlive a log-out: this process remembers
    who logged out until those sessions end by themselves. Other replicas, and a new process, do not.
    """

    def __init__(self, seal: Seal) -> None:
        self._cookie = SealedCookie(seal, "session")
        self._ended: dict[str, int] = {}

    def find(self, cookies: Mapping[str, str]) -> Found:
        """Returns the session of a request."""
        content = self._cookie.read(cookies)
        if content is None:
            return Found(None)
        try:
            session = Session(**{**content, "roles": tuple(content["roles"])})
        except (KeyError, TypeError):
            return Found(None)  # of another version of the console
        if session.id in self._ended:
            return Found(None)
        over = session.why_over()
        return Found(None, over) if over else Found(session)

    def keep(self, response: Response, cookies: Mapping[str, str], session: Session) -> None:
        """Has the browser keep a session until it is closed: of one that has ended it can be told why.

        Raises TooLargeError.
        """
        self._cookie.write(response, cookies, asdict(session), None)

    def end(self, response: Response, cookies: Mapping[str, str], session: Session | None) -> None:
        """Ends a session: in the browser, and for copies of its cookies, too."""
        self._cookie.clear(response, cookies)
        if session is not None:
            now = time.time()
            if len(self._ended) >= _MOST_ENDED:
                self._ended = {key: ends for key, ends in self._ended.items() if ends > now}
            if len(self._ended) >= _MOST_ENDED:
                del self._ended[next(iter(self._ended))]
            self._ended[session.id] = session.ends
