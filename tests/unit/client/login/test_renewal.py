"""A log-in's token: renewed before it ends, once, and with one line where that is over."""

import errno
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.fake_issuer import CLIENT_ID, ENDPOINT, FakeIssuer, Keep
from valetkey import SettingsError, UnauthenticatedError, ValetKeyError
from valetkey.errors import UnavailableError
from valetkey.login import issuer_http, renewal, store
from valetkey.login.renewal import current_token
from valetkey.login.store import read_login

OVER = 4000.0  # An age at which a token of an hour is over.
DUE = 3500.0  # And one at which it is due, and still counts.
INVALID = (400, {"error": "invalid_grant", "error_description": "AADSTS50173: revoked, refresh-0 and all"})


def access(path: Path) -> str:
    tokens = read_login(path).tokens
    assert tokens is not None
    return tokens.access


def test_a_fresh_token_costs_nothing(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """The issuer is not asked while the token is fresh."""
    login = keep(age=100)
    assert login.tokens is not None
    assert current_token(path) == login.tokens.access
    assert issuer.paths == []


@pytest.mark.parametrize("age", [DUE, OVER])
def test_it_is_renewed_before_it_ends_and_after(keep: Keep, path: Path, issuer: FakeIssuer, age: float) -> None:
    """By the refresh token, whose successor is kept."""
    keep(age=age)
    renewed = current_token(path)
    (form,) = issuer.asked("/token")
    assert (form["grant_type"], form["refresh_token"], form["client_id"]) == ("refresh_token", "refresh-0", CLIENT_ID)
    kept = read_login(path).tokens
    assert kept is not None
    assert kept.access == renewed
    assert kept.refresh.startswith("refresh-")
    assert kept.refresh != "refresh-0"
    assert current_token(path) == renewed
    assert len(issuer.asked("/token")) == 1


def test_many_at_once_renew_it_once(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """A refresh token is good for once: a second use of it ends the log-in at many issuers."""
    keep(age=OVER)
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: current_token(path), range(32)))
    assert len(found) == 1
    assert len(issuer.asked("/token")) == 1


def test_nobody_waits_for_a_renewal_while_the_token_counts(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """A command that comes while another one renews takes the token that there is."""
    login = keep(age=DUE)
    issuer.trouble = "hang"
    thread = threading.Thread(target=lambda: current_token(path))
    thread.start()
    while not issuer.paths:
        time.sleep(0.01)
    assert login.tokens is not None
    assert current_token(path) == login.tokens.access
    issuer.released.set()
    thread.join()


def test_an_issuer_that_rotates_nothing_keeps_its_refresh_token(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """RFC 6749, section 6: without a new one, the old one stays."""
    keep(age=OVER)
    issuer.more = {"refresh_token": None}
    current_token(path)
    kept = read_login(path).tokens
    assert kept is not None
    assert kept.refresh == "refresh-0"


def test_a_log_in_that_is_over_says_so_with_the_command(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """One line, without the refresh token that the issuer repeats; and the issuer is not asked again and again."""
    keep(age=OVER)
    issuer.answers = [INVALID]
    for _ in range(2):
        with pytest.raises(UnauthenticatedError) as caught:
            current_token(path)
        assert str(caught.value) == (
            f"the log-in at {ENDPOINT} has expired (the issuer refused to renew it: invalid_grant: AADSTS50173: "
            f"revoked, *** and all); log in again: valetkey --endpoint {ENDPOINT} login"
        )
    assert len(issuer.asked("/token")) == 1
    assert "refresh-0" not in path.read_text()


def test_one_that_cannot_be_renewed_counts_to_its_end(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """An issuer's no while the token lives takes nothing away before the token's end."""
    login = keep(age=DUE)
    assert login.tokens is not None
    issuer.answers = [INVALID]
    assert [current_token(path), current_token(path)] == [login.tokens.access] * 2
    assert len(issuer.asked("/token")) == 1


def test_without_a_refresh_token(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """Some issuers give none: the token counts to its end, and then it is over."""
    login = keep(age=DUE, refresh="")
    assert login.tokens is not None
    assert current_token(path) == login.tokens.access
    keep(age=OVER, refresh="")
    with pytest.raises(UnauthenticatedError, match=f"has expired; log in again: valetkey --endpoint {ENDPOINT} login"):
        current_token(path)
    assert issuer.paths == []


@pytest.mark.parametrize("trouble", ["503", "hang", "redirect", "huge", "garbage", "array", "drip"])
def test_an_issuer_in_trouble(
    keep: Keep, path: Path, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Serves the token while that lives, asking no more than now and then; then it is told what is wrong, in time."""
    real = issuer_http.IssuerHttp
    limits = [0.5 if trouble in ("hang", "drip") else 60.0]
    monkeypatch.setattr(renewal, "IssuerHttp", lambda ca: real(ca, seconds=limits[0]))
    login = keep(age=DUE)
    assert login.tokens is not None
    issuer.trouble = trouble
    assert current_token(path) == login.tokens.access
    asked = len(issuer.paths)
    assert current_token(path) == login.tokens.access
    assert len(issuer.paths) == asked
    keep(age=OVER)
    with pytest.raises(ValetKeyError, match=f"the log-in at {ENDPOINT} cannot be renewed now: "):
        current_token(path)
    issuer.trouble, limits[0] = "", 60.0
    issuer.released.set()
    assert current_token(path) == access(path)


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_a_refusal_for_now_is_not_the_end(keep: Keep, path: Path, issuer: FakeIssuer, error: str) -> None:
    """What an issuer says of itself does not end anybody's log-in."""
    keep(age=OVER)
    issuer.answers = [(400, {"error": error})]
    with pytest.raises(UnavailableError):
        current_token(path)
    assert current_token(path) == access(path)


@pytest.mark.parametrize(
    ("claims", "document", "problem"),
    [
        ({"iss": "https://evil.example"}, {}, "is of the issuer https://evil.example"),
        ({"aud": "another"}, {}, "is for another; the broker takes those for the-broker"),
        ({}, {"issuer": "https://evil.example"}, "is another issuer's: https://evil.example"),
        ({}, {"token_endpoint": "http://plain.example/token"}, "token_endpoint of the issuer is http://plain.example"),
        ({}, {"token_endpoint": "https://user@plain.example/token"}, "expected an https:// URL"),
    ],
)
def test_an_issuer_that_became_another(
    keep: Keep, path: Path, issuer: FakeIssuer, claims: dict[str, str], document: dict[str, str], problem: str
) -> None:
    """Neither is the refresh token sent to a place that the issuer did not have, nor a foreign token to the broker."""
    keep(age=OVER)
    issuer.claims = claims
    issuer.document.update(document)
    with pytest.raises(ValetKeyError, match=problem):
        current_token(path)
    assert bool(issuer.forms) == bool(claims)


def test_what_cannot_be_kept_is_not_asked_for(
    keep: Keep, path: Path, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes no token away that counts, and uses up no refresh token, which is good for once."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    login = keep(age=DUE)
    assert login.tokens is not None
    with monkeypatch.context() as patched:
        patched.setattr(store, "write_whole", full)
        assert current_token(path) == login.tokens.access
    keep(age=OVER)
    with monkeypatch.context() as patched:
        patched.setattr(store, "write_whole", full)
        with pytest.raises(SettingsError, match="cannot be written: No space left"):
            current_token(path)
    assert issuer.paths == []
    assert current_token(path) == access(path)


def test_a_clock_that_was_set_back(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """A token that comes from the future tells nothing of its end: it is renewed."""
    keep(age=-7200)
    current_token(path)
    assert len(issuer.asked("/token")) == 1


def test_a_ca_that_the_issuer_is_not_of(keep: Keep, path: Path, issuer: FakeIssuer) -> None:
    """An issuer of an untrusted certificate gets nothing, and the option that mends it is named."""
    keep(age=OVER)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "issuer_ca_file": None}))
    with pytest.raises(SettingsError, match=r"by this machine's CAs: .* valetkey login --issuer-ca-file FILE"):
        current_token(path)
    assert issuer.paths == []
