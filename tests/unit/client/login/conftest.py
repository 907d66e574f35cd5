"""An issuer over HTTPS for each module, and log-ins of it on disk."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_issuer import ENDPOINT, FakeIssuer, Keep, running_fake_issuer
from valetkey.login.issuer_tokens import Tokens
from valetkey.login.store import Login, write_login


@pytest.fixture(scope="module")
def one_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeIssuer]:
    with running_fake_issuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture
def issuer(one_issuer: FakeIssuer) -> Iterator[FakeIssuer]:
    """One that has forgotten what other tests did to it."""
    one_issuer.reset()
    yield one_issuer
    one_issuer.released.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "log-ins" / ENDPOINT / "login.json"


@pytest.fixture
def keep(issuer: FakeIssuer, path: Path) -> Keep:
    """Writes a log-in whose token is `age` seconds old and lives for `life`."""

    def keep(*, age: float = 0.0, life: float = 3600.0, refresh: str = "refresh-0") -> Login:
        now = time.time()
        tokens = Tokens(issuer.jwt(), now - age, now - age + life, refresh)
        login = Login(ENDPOINT, issuer.offer, issuer.ca_file, tokens)
        write_login(path, login)
        return login

    return keep
