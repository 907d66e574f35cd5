"""Two callers in one process, one after the other in the same file: neither has a token of the other one's."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from support.client_certificates import make_client_ca
from support.fake_broker import running_fake_broker
from support.fake_issuer import ENDPOINT, FakeIssuer, running_fake_issuer
from support.waiting import comes_true
from support.watch_messages import step
from valetkey import Identity, Token, TokenSource, UnauthenticatedError, UnavailableError, ValetKeyError
from valetkey.calls import retries
from valetkey.login.issuer_tokens import Tokens
from valetkey.login.store import Login, write_login
from valetkey.renewal import asked_as, shared_feeds
from valetkey.testing import FakeBroker
from valetkey.v1 import token_service_pb2 as token_pb

OLD, NEW = ("vk_" + letter * 43 for letter in "ON")
PATIENCE = 60


class KnowingBroker(FakeBroker):
    """Takes any key; a token's connector is the key that was shown for it."""

    def __init__(self) -> None:
        super().__init__(ttl=timedelta(minutes=15))
        self.entered, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self._asking = threading.local()

    def _enter(self, method: str, context: grpc.ServicerContext, request: token_pb.IssueTokenRequest | None) -> None:
        self.api_key = dict(context.invocation_metadata())["authorization"].removeprefix("Bearer ")
        self._asking.key = self.api_key
        super()._enter(method, context, request)
        self.entered.set()
        assert self.may_answer.wait(PATIENCE)

    def _token(self, request: token_pb.IssueTokenRequest) -> token_pb.IssueTokenResponse:
        answer = super()._token(request)
        answer.connector = self._asking.key
        return answer


@pytest.fixture
def fake() -> Iterator[KnowingBroker]:
    with KnowingBroker() as running:
        yield running
        running.may_answer.set()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(OLD)
    return path


def put(file: Path, content: str | bytes) -> None:
    """Replaces a file as a whole."""
    fresh = file.with_name("fresh")
    fresh.write_bytes(content.encode() if isinstance(content, str) else content)
    fresh.rename(file)


def source_of(fake: KnowingBroker, file: Path) -> TokenSource:
    return fake.token_source("az://models", ["read"], api_key_file=file)


def test_a_new_source_is_of_who_is_in_the_file_by_now(fake: KnowingBroker, file: Path) -> None:
    """Protects a caller from being served what another one may: at once, and with one lease more for all that come."""
    with source_of(fake, file) as first, source_of(fake, file) as second, source_of(fake, file) as third:
        assert first.current().connector == OLD
        put(file, NEW)
        assert second.current().connector == NEW
        assert comes_true(lambda: first.current().connector == NEW, PATIENCE)
        assert third.current().connector == NEW
        assert fake.calls == ["WatchToken"] * 3


def test_a_file_that_is_replaced_before_the_answer_comes(fake: KnowingBroker, file: Path) -> None:
    """Protects from the token that is under way for the caller before."""
    fake.may_answer.clear()
    with source_of(fake, file) as first, source_of(fake, file) as second, ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(first.current)]
        assert fake.entered.wait(PATIENCE)
        put(file, NEW)
        asking.append(pool.submit(second.current))
        assert comes_true(lambda: second._feed is not None, PATIENCE)
        fake.may_answer.set()
        assert asking[1].result().connector == NEW


def test_who_waits_while_another_thread_looks(fake: KnowingBroker, file: Path) -> None:
    """Protects whoever waits in a kept file system, as another thread gets it, too, and the key was replaced."""
    fake.may_answer.clear()
    with source_of(fake, file) as source, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.current)
        assert fake.entered.wait(PATIENCE)
        put(file, NEW)
        source.look()
        fake.may_answer.set()
        assert waiting.result().connector == NEW


def test_a_file_that_is_replaced_and_replaced_back(fake: KnowingBroker, file: Path) -> None:
    """Protects from a source that has gone over to the other caller meanwhile."""
    with source_of(fake, file) as first, source_of(fake, file) as second:
        old = first.current()
        put(file, NEW)
        assert first.renew(old).connector == NEW
        put(file, OLD)
        assert second.current().connector == OLD


def test_a_file_that_is_replaced_as_it_is_read(
    fake: KnowingBroker, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects from a token that was asked for as another caller than the one who was looked for."""
    real = asked_as.AskedAs.now

    def now(self: asked_as.AskedAs) -> bytes | None:
        found = real(self)
        put(file, NEW)
        return found

    with source_of(fake, file) as first, source_of(fake, file) as second:
        monkeypatch.setattr(asked_as.AskedAs, "now", now)
        assert first.current().connector == NEW
        monkeypatch.undo()
        put(file, OLD)
        assert second.current().connector == OLD


def test_a_child_that_has_a_token_of_the_caller_before(fake: KnowingBroker, file: Path) -> None:
    """Protects forked workers: the token they came with is for those who had it."""
    with source_of(fake, file) as first, source_of(fake, file) as second:
        had = first.current()
        put(file, NEW)
        shared_feeds._after_fork_in_child()
        feed = first._feed
        assert feed is not None
        feed.pid = 0  # The parent's.
        assert first.at_hand() == had
        assert second.current().connector == NEW
        feed.stop()
        feed.join()


def jwt(subject: str, number: int) -> str:
    """Returns a token of an issuer; the broker's checks are no matter here."""
    claims = json.dumps({"iss": "https://issuer.example", "sub": subject, "jti": number}).encode()
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", claims, b"signature"))


def by_token(fake: KnowingBroker, path: Path) -> TokenSource:
    return fake.token_source("az://models", ["read"], api_key_file=None, token_file=path)


def test_the_next_token_of_a_caller_while_the_broker_is_away(
    fake: KnowingBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects pods, whose token is another one each hour: what there is serves on, for who comes after that, too."""
    monkeypatch.setattr(retries, "WINDOW", 0.1)  # What cannot be reached is told at once.
    path = tmp_path / "token"
    path.write_text(jwt("ada", 1))
    first, second, third, fourth = (by_token(fake, path) for _ in range(4))
    with first, second, third, fourth:
        had = first.current()
        put(path, jwt("ada", 2))
        fake.stop()
        assert second.current() == had
        assert third.current() == had
        assert third._feed is second._feed, "it is known by now that nobody can be asked"
        first.look()
        assert first.current() == had
        put(path, jwt("bob", 1))
        with pytest.raises(UnavailableError):
            fourth.current()
        assert second.current() == had


def test_what_a_file_system_had_serves_on_for_itself(
    fake: KnowingBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects pods whose one file system is handed out once more after their token was renewed."""
    monkeypatch.setattr(retries, "WINDOW", 0.1)
    path = tmp_path / "token"
    path.write_text(jwt("ada", 1))
    with by_token(fake, path) as source:
        had = source.current()
        put(path, jwt("ada", 2))
        fake.stop()
        source.look()
        assert source.current() == had


def refusing(fake: KnowingBroker, monkeypatch: pytest.MonkeyPatch, forged: str) -> None:
    """Has a broker refuse a token that its issuer did not sign."""
    real = fake._enter

    def enter(method: str, context: grpc.ServicerContext, request: token_pb.IssueTokenRequest | None) -> None:
        if dict(context.invocation_metadata())["authorization"] == f"Bearer {forged}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not signed by its issuer")
        real(method, context, request)

    monkeypatch.setattr(fake, "_enter", enter)


def test_a_token_that_only_says_whose_it_is(
    fake: KnowingBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects callers from whoever writes their name into a token: what the broker says counts, also later."""
    monkeypatch.setattr(retries, "WINDOW", 0.1)
    path = tmp_path / "token"
    path.write_text(jwt("ada", 1))
    with by_token(fake, path) as first, by_token(fake, path) as second:
        had = first.current()
        put(path, jwt("ada", 2))
        refusing(fake, monkeypatch, jwt("ada", 2))
        with pytest.raises(UnauthenticatedError):
            second.current()
        assert first.current() == had, "it was handed out, and lives on"
        fake.stop()
        with pytest.raises(ValetKeyError):
            second.current()


def test_what_was_lent_ends_as_the_broker_says_no(
    fake: KnowingBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects callers whose name somebody else wrote into a token while no broker could be asked."""
    monkeypatch.setattr(retries, "WINDOW", 0.1)
    path = tmp_path / "token"
    path.write_text(jwt("ada", 1))
    with by_token(fake, path) as first, by_token(fake, path) as second, by_token(fake, path) as third:
        had = first.current()
        put(path, jwt("ada", 2))
        refusing(fake, monkeypatch, jwt("ada", 2))
        fake.stop()
        assert second.current() == had
        fake.start()
        assert comes_true(lambda: second.peek() is None, PATIENCE)
        for source in (second, third):
            with pytest.raises(UnauthenticatedError):
                source.current()
        assert first.peek() == had


def test_what_a_feed_did_not_lend_yet_goes_on_to_the_next(fake: KnowingBroker, tmp_path: Path) -> None:
    """Protects pods whose token is renewed once more while the broker does not answer."""
    path = tmp_path / "token"
    path.write_text(jwt("ada", 1))
    with by_token(fake, path) as source:
        had = source.current()
        fake.may_answer.clear()
        for number in (2, 3):
            put(path, jwt("ada", number))
            source.look()
            feed = source._live()
            left_over = feed.asked_as.left_over(feed.held)
            assert left_over is not None
            assert left_over.token == had
        fake.may_answer.set()
        new = source.current()
        assert new.connector == jwt("ada", 3)
        assert feed.asked_as._spare is None, "its own came"


def test_certificates_of_two_callers(tmp_path: Path) -> None:
    """Protects workloads with certificates: as who is in the files, over a connection of its own."""
    ca = make_client_ca()
    seen: list[bytes] = []
    with running_fake_broker(tmp_path, client_ca=ca.pem) as broker:
        broker.streams = [[step(number, life=600), float(PATIENCE)] for number in (1, 2, 3)]

        def current(source: TokenSource) -> Token:
            token = source.current()
            seen.append(broker.peer["x509_subject_alternative_name"][0].rpartition(b"/")[2])
            return token

        certificate, key = ca.issue(tmp_path / "svid", "spiffe://example.org/one")
        first, second = (
            TokenSource(
                *("az://models", ["read"]),
                endpoint=broker.endpoint,
                ca_file=broker.ca_file,
                client_cert_file=certificate,
                client_key_file=key,
            )
            for _ in range(2)
        )
        with first, second:
            had = current(first)
            ca.issue(tmp_path / "svid", "spiffe://example.org/two")
            assert current(second) != had
        assert seen == [b"one", b"two"]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeIssuer]:
    with running_fake_issuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


def test_a_log_in_stays_the_same_while_its_token_is_renewed(issuer: FakeIssuer, tmp_path: Path) -> None:
    """Protects people who log in as somebody else, and the broker from a lease for each renewal of theirs."""
    path = tmp_path / "log-ins" / ENDPOINT / "login.json"
    identity = Identity(login_file=path)

    def logged_in(**claims: str) -> bytes | None:
        now = time.time()
        tokens = Tokens(issuer.jwt(**claims), now, now + 3600, "refresh-0")
        write_login(path, Login(ENDPOINT, issuer.offer, issuer.ca_file, tokens))
        return identity.caller_fingerprint()

    assert identity.caller_fingerprint() is None
    ada = logged_in(sub="ada")
    assert (logged_in(sub="ada"), logged_in(sub="bob") != ada) == (ada, True)
    assert logged_in(sub="") != logged_in(sub="")  # Who it is, nothing says.
    assert not issuer.paths
