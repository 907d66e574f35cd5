"""`valetkey login` and `logout`, against a fake broker and a fake issuer."""

import json
import re
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.cli_runner import Runner
from support.fake_broker import API_KEY, FakeBroker
from support.fake_issuer import FakeIssuer, get
from valetkey import AsyncClient, Client, SettingsError, TokenSource, load_settings
from valetkey.cli import login_steps
from valetkey.login.logout import log_out
from valetkey.settings import login_file_of


@pytest.fixture
def place(broker: FakeBroker, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A broker that has people log in at the issuer, a browser that does as it is told, and no other identity."""
    broker.offers = [issuer.offer]
    # The broker knows one bearer; so the issuer's next token is it.
    broker.api_key = issuer.jwt()
    issuer.more = {"access_token": broker.api_key}
    monkeypatch.setenv("VALETKEY_ENDPOINT", broker.endpoint)
    monkeypatch.setenv("VALETKEY_CA_FILE", str(broker.ca_file))
    monkeypatch.setenv("VALETKEY_ISSUER_CA_FILE", str(issuer.ca_file))
    monkeypatch.setenv("BROWSER", "a-browser")
    threads: list[threading.Thread] = []

    def opened(url: str) -> bool:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        threads.append(threading.current_thread())
        get(f"{query['redirect_uri']}?code=the-code&state={query['state']}")
        return True

    monkeypatch.setattr(webbrowser, "open", opened)
    yield login_file_of(broker.endpoint, {})
    for thread in threads:
        thread.join()


def test_log_in_and_out(bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer) -> None:
    """After a log-in every command works without another identity; whoami names it; logout revokes and forgets it."""
    done = bare("login")
    assert done.code == 0, done.err
    place_named = f"{broker.endpoint} has people log in at {issuer.url}, as its client the-command-line"
    assert f"{place_named}, for openid offline_access\n" in done.err
    assert f"go to this page to log in, within 5 minutes: {issuer.url}/authorize?" in done.err
    assert f"Logged in at {broker.endpoint} as key:trainer" in done.out
    assert "is renewed by itself" in done.out
    shown = bare("whoami")
    assert "key:trainer" in shown.out
    assert f"the log-in in {place}" in shown.out
    assert bare("token", "issue", "--resource", "az://demo-models", "--permissions", "read").code == 0
    kept = json.loads(place.read_text())["tokens"]
    for output in (done.out + done.err, shown.out + shown.err):
        assert kept["access"] not in output
        assert kept["refresh"] not in output
    left = bare("logout")
    assert (left.code, left.out) == (0, f"Logged out of {broker.endpoint}.\n")
    (form,) = issuer.asked("/revoke")
    assert (form["token"], form["token_type_hint"]) == (kept["refresh"], "refresh_token")
    assert not place.exists()
    again = bare("logout", "-o", "json")
    assert again.json == {"endpoint": broker.endpoint, "logged_out": False, "revoked": False}
    refused = bare("whoami")
    assert refused.code == 2
    assert f"people log in: valetkey --endpoint {broker.endpoint} login" in refused.err


def test_as_json(bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer) -> None:
    """For scripts: data alone on standard output, the address as a note."""
    done = bare("login", "-o", "json")
    assert {**done.json, "expire_time": ""} == {
        "endpoint": broker.endpoint,
        "issuer": issuer.url,
        "principal": "key:trainer",
        "roles": [],
        "expire_time": "",
        "renewed": True,
    }
    assert all(json.loads(line)["note"] for line in done.err.splitlines())


def test_it_says_the_same_end_as_whoami(bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer) -> None:
    """Protects from wondering at two ends of one log-in: what counts is until when the broker takes the token."""
    broker.caller.expire_time.FromJsonString("2033-05-18T03:33:20Z")
    assert "The token counts until 2033-05-18T03:33:20Z and is renewed by itself." in bare("login").out
    assert bare("whoami", "-o", "json").json["expire_time"] == "2033-05-18T03:33:20Z"


def test_without_a_display_it_goes_by_a_code(
    bare: Runner, place: Path, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to open a browser with: a code, and the page to type it in."""
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    page = {"device_code": "d", "user_code": "ABC-DEF", "verification_uri": "https://issuer.example/device"}
    issuer.answers = [(200, {**page, "expires_in": 600, "interval": 0.01})]
    done = bare("login")
    assert done.code == 0, done.err
    assert "go to https://issuer.example/device and type in the code ABC-DEF, within 10 minutes" in done.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"issuer": "https://evil.example"}, "issuer: was {issuer}, is now https://evil.example"),
        ({"client_id": "another"}, "client id: was the-command-line, is now another"),
        (
            {"scopes": ("https://management.azure.com/.default",)},
            "scopes: was openid offline_access, is now https://man",
        ),
        ({"audience": "https://management.azure.com"}, "audience: was the-broker, is now https://management.azure.com"),
    ],
)
def test_a_broker_that_names_another_place_is_not_followed(
    bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer, change: dict[str, Any], told: str
) -> None:
    """What the first log-in pinned holds until the person logs out: old and new are named, and nothing is sent."""
    assert bare("login").code == 0
    asked = len(issuer.paths)
    broker.offers = [replace(issuer.offer, **change)]
    refused = bare("login")
    assert refused.code == 2
    assert told.format(issuer=issuer.url) in refused.err
    assert "nothing was sent there. If whoever runs the broker says that this is meant: valetkey logout" in refused.err
    assert len(issuer.paths) == asked
    assert bare("whoami").code == 0
    broker.offers = [issuer.offer]
    assert bare("logout").code == 0
    assert bare("login").code == 0


def test_several_issuers(bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer) -> None:
    """One is chosen by name; the one of before needs no name; none is guessed."""
    broker.offers = [replace(issuer.offer, issuer="https://other.example"), issuer.offer]
    asked = bare("login")
    assert asked.code == 2
    assert f"has people log in at https://other.example, {issuer.url}; say which one with --issuer" in asked.err
    assert "https://third.example is none of them" in bare("login", "--issuer", "https://third.example").err
    chosen = bare("login", "--issuer", issuer.url)
    assert chosen.code == 0
    # Its own path: the other could send the browser on to this one, and have the answer brought to itself.
    assert re.search(r"%2Fcallback%2F[0-9a-f]{32}&", chosen.err)
    again = bare("login")
    assert again.code == 0
    assert re.search(r"%2Fcallback%2F[0-9a-f]{32}&", again.err)


def test_brokers_that_lead_nowhere(bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer) -> None:
    """No log-in is offered, or one without TLS: said in a sentence."""
    broker.offers = []
    none = bare("login")
    assert none.code == 1
    assert f"the broker at {broker.endpoint} offers no log-in" in none.err
    broker.offers = []
    plain = {"issuer": "http://plain.example", "client_id": "c", "scopes": ("openid",), "audience": "a"}
    broker.offers = [type("Plain", (), {**plain, "send_audience": False})()]
    assert "'http://plain.example'; expected an https:// URL" in bare("login").err


def test_another_identity_comes_first(
    bare: Runner, place: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API key that is set wins over the log-in, and whoever logs in is told so."""
    monkeypatch.setenv("VALETKEY_API_KEY", API_KEY)
    done = bare("login")
    assert done.code == 0
    assert "is set, too, and comes before the log-in" in done.err
    assert load_settings().identity.api_key == API_KEY
    monkeypatch.delenv("VALETKEY_API_KEY")
    assert load_settings().identity.login_file == place


def test_a_token_that_the_broker_does_not_take(bare: Runner, place: Path, broker: FakeBroker) -> None:
    """The log-in is not kept: every later command would fail by it."""
    broker.api_key = "another"
    refused = bare("login")
    assert refused.code == 3
    assert "the issuer logged you in, and the broker does not take its token" in refused.err
    assert not place.exists()


@pytest.mark.parametrize(
    ("trouble", "code"), [(SettingsError("log-in: the disk is full"), 2), (KeyboardInterrupt(), 130)]
)
def test_a_log_in_that_cannot_be_kept(
    bare: Runner,
    place: Path,
    issuer: FakeIssuer,
    monkeypatch: pytest.MonkeyPatch,
    trouble: BaseException,
    code: int,
) -> None:
    """What renews it is revoked: nobody has it any more, and at the issuer it would live on for weeks."""

    def write(*_: object) -> None:
        raise trouble

    issuer.more["refresh_token"] = "refresh-of-nobody"
    monkeypatch.setattr(login_steps, "write_login", write)
    assert bare("login").code == code
    assert [form["token"] for form in issuer.asked("/revoke")] == ["refresh-of-nobody"]
    assert not place.exists()


def test_an_expired_log_in_is_one_line_with_the_command(
    bare: Runner, place: Path, broker: FakeBroker, issuer: FakeIssuer
) -> None:
    """Whoever was away for long is told what to type."""
    assert bare("login").code == 0
    values = json.loads(place.read_text())
    values["tokens"]["received_at"], values["tokens"]["expires_at"] = 1.0, 2.0
    place.write_text(json.dumps(values))
    issuer.answers = [(400, {"error": "invalid_grant"})]
    expired = bare("token", "issue", "--resource", "az://demo-models", "--permissions", "read")
    assert expired.code == 3
    (line,) = expired.err.splitlines()
    assert line.endswith(f"log in again: valetkey --endpoint {broker.endpoint} login")
    issuer.answers = []
    assert bare("login").code == 0


def test_a_broker_that_takes_the_token_no_more(bare: Runner, place: Path, broker: FakeBroker) -> None:
    """A refusal by the broker comes with the command, too."""
    assert bare("login").code == 0
    broker.api_key = "another"
    assert f"; log in again: valetkey --endpoint {broker.endpoint} login" in bare("whoami").err


async def test_programs_take_the_log_in(bare: Runner, place: Path, broker: FakeBroker) -> None:
    """Client, AsyncClient and TokenSource find it as commands do."""
    assert bare("login").code == 0
    with Client.from_settings() as client:
        assert client.who_am_i().principal == "key:trainer"
    async with AsyncClient.from_settings() as client:
        assert (await client.who_am_i()).principal == "key:trainer"
    with TokenSource("az://demo-models", ["read"]) as source:
        assert f"the log-in in {place}" in repr(source)


def test_logout_without_a_word_of_the_issuer(bare: Runner, place: Path, issuer: FakeIssuer) -> None:
    """An issuer that is away, that refuses, or that has no way to revoke keeps nobody logged in here."""
    for trouble, document, told in (
        ("503", {}, "Warning: the issuer could not be told (the issuer at"),
        ("", {"revocation_endpoint": None}, "Note: the issuer has no way to revoke"),
        ("", {"revocation_endpoint": f"{issuer.url}/refuses"}, "it answered with status 400"),
    ):
        issuer.trouble = ""
        assert bare("login").code == 0
        issuer.trouble = trouble
        issuer.document.update(document)
        issuer.answers = [(400, {"error": "unsupported_token_type"})] if "status 400" in told else []
        left = bare("logout")
        assert left.code == 0
        assert told in left.err
        assert not place.exists()


def test_logout_of_what_cannot_be_read(place: Path, tmp_path: Path) -> None:
    """A broken file, or a link in its place, is removed, and nothing behind it is."""
    victim = tmp_path / "victim"
    victim.write_text("{}")
    place.parent.mkdir(parents=True, mode=0o700)
    for folder in (place.parent, place.parent.parent):
        folder.chmod(0o700)
    place.symlink_to(victim)
    # Left by a write that was killed: it holds tokens as well.
    (place.parent / f".{place.name}.x1y2").write_text("{}")
    log_out(place)
    assert not place.is_symlink()
    assert [each.name for each in place.parent.iterdir()] == ["lock"]
    assert victim.read_text() == "{}"


def test_where_files_cannot_be_made_private(bare: Runner, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where modes mean nothing no token is kept."""
    monkeypatch.setattr(login_steps, "_POSIX", False)
    refused = bare("login")
    assert refused.code == 2
    assert "log-ins are kept only where a file can be made one user's own" in refused.err


def test_time_is_told_by_the_issuers_span(bare: Runner, place: Path, issuer: FakeIssuer) -> None:
    """A machine whose clock is wrong reckons by how long the token lives, and not by when it ends."""
    issuer.life = 600
    assert bare("login").code == 0
    kept = json.loads(place.read_text())["tokens"]
    assert kept["expires_at"] - kept["received_at"] == 600
    assert abs(kept["received_at"] - time.time()) < 300
