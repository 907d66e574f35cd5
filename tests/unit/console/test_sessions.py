"""Sessions of the console: how long they count, and what is made of their cookies."""

import time
from dataclasses import replace

import pytest
from starlette.responses import Response

from valetkey_console.sessions.cookie_sessions import Sessions
from valetkey_console.sessions.cookies import SealedCookie, TooLargeError
from valetkey_console.sessions.sealing import Seal
from valetkey_console.sessions.session import IDLE, LONGEST, Session


def test_how_long_a_session_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle for 30 minutes, 8 hours at most, and never longer than its token."""
    begun = int(time.time())
    whole = Session.begin("b", "key:x", (), "api-key", None)
    short = Session.begin("b", "key:x", (), "oidc", begun + 600.0)

    def after(session: Session, seconds: int, seen: int = 0) -> str:
        monkeypatch.setattr("valetkey_console.sessions.session.now", lambda: float(session.begun + seconds))
        return replace(session, seen=session.begun + seen).why_over()

    assert [after(whole, IDLE - 2), after(whole, IDLE + 1)] == ["", "idle"]
    assert [after(whole, LONGEST - 1, LONGEST - 60), after(whole, LONGEST, LONGEST - 60)] == ["", "long"]
    assert [after(short, 500), after(short, 601)] == ["", "token"]


def test_long_tokens_take_several_cookies_that_hold_together() -> None:
    """In pieces; one that is missing, cut or of another session makes all of it nothing."""
    sessions = Sessions(Seal([b"k" * 32]))

    def kept(bearer: str) -> dict[str, str]:
        answer = Response()
        sessions.keep(answer, {}, Session.begin(bearer, "user:x", (), "oidc", None))
        pairs = [
            value.decode().partition(";")[0].partition("=")
            for name, value in answer.raw_headers
            if name == b"set-cookie"
        ]
        return {name: value for name, _, value in pairs}

    one, other = kept("a" * 6_000), kept("b" * 6_000)
    assert len(one) == len(other) == 3
    assert all(len(name) + len(value) < 3_900 for name, value in one.items())
    found = sessions.find(one).session
    assert found is not None
    assert found.bearer == "a" * 6_000
    second = "__Host-valetkey-session-1"
    for wrong in (
        {**one, second: other[second]},
        {name: value for name, value in one.items() if name != second},
        {**one, second: one[second][:-1]},
        {**one, "__Host-valetkey-session": one["__Host-valetkey-session"].replace("3~", "9~")},
        {**one, "__Host-valetkey-session": ""},
    ):
        assert sessions.find(wrong).session is None
    # A shorter one takes what is left of the longer away.
    answer = Response()
    sessions.keep(answer, one, Session.begin("c", "user:x", (), "oidc", None))
    assert sum(name == b"set-cookie" and b"Max-Age=0" in value for name, value in answer.raw_headers) == 2
    with pytest.raises(TooLargeError):
        kept("a" * 20_000)


def test_sealed_values_are_for_one_purpose_and_by_our_keys() -> None:
    """A message is no session, another console's cookie is none here; a former key still opens."""
    old, new = Seal([b"o" * 32]), Seal([b"n" * 32, b"o" * 32])
    sealed = old.close("said", {"text": "hello"})
    assert old.open("said", sealed) == new.open("said", sealed) == {"text": "hello"}
    assert old.open("session", sealed) is None
    assert old.open("said", new.close("said", {})) is None
    assert old.open("said", "a.b.c.d.e") is old.open("said", "") is None
    cookie = SealedCookie(old, "session")
    assert cookie.read({"__Host-valetkey-session": f"1~{sealed}"}) is None


def test_who_logged_out_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the cookies is worth nothing after a log-out; those that ended by themselves make room first."""
    monkeypatch.setattr("valetkey_console.sessions.cookie_sessions._MOST_ENDED", 3)
    sessions = Sessions(Seal([b"k" * 32]))
    over = replace(Session.begin("b", "user:x", (), "oidc", None), ends=1)
    living = [Session.begin(f"b{number}", "user:x", ("admin",), "oidc", None) for number in range(4)]

    def copy_of(session: Session) -> dict[str, str]:
        answer = Response()
        sessions.keep(answer, {}, session)
        pairs = (value.decode().partition(";")[0].partition("=") for _, value in answer.raw_headers if b"=" in value)
        return {name: value for name, _, value in pairs}

    copies = [copy_of(session) for session in living]
    assert [sessions.find(each).session for each in copies] == living
    for session in (living[0], over, living[1], living[2]):
        sessions.end(Response(), {}, session)
    assert [sessions.find(each).session for each in copies] == [None, None, None, living[3]]
    for session in living[3], *[Session.begin("b", "user:x", (), "oidc", None) for _ in range(5)]:
        sessions.end(Response(), {}, session)
    assert len(sessions._ended) == 3
