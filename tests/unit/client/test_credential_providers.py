"""`valetkey.obstore` and `valetkey.polars`: what these are told, and when they are to ask again."""

import pickle
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

import valetkey
import valetkey.obstore as for_obstore
import valetkey.polars as for_polars
from valetkey.testing import FakeBroker

MINUTES = timedelta(minutes=15)
READS = 67


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    with FakeBroker(ttl=MINUTES) as running:
        yield running


@pytest.fixture
def source(fake: FakeBroker) -> Iterator[valetkey.TokenSource]:
    with fake.token_source("az://models", ["read", "list"]) as made:
        yield made


def test_obstore_asks_often_and_the_broker_is_asked_once(source: valetkey.TokenSource, fake: FakeBroker) -> None:
    """Protects broker and ledger: obstore asks at each request once 300 s are left of the end that it was told."""
    provider = for_obstore.CredentialProvider(source)
    answers = [provider() for _ in range(READS)]
    assert {answer["sas_token"] for answer in answers} == {source.current().sas}
    assert fake.calls == ["WatchToken"]
    left = answers[-1]["expires_at"] - datetime.now(UTC)
    assert left <= timedelta(seconds=301)
    assert answers[-1]["expires_at"].tzinfo is not None


def test_obstore_gets_a_fresh_token_within_a_second(source: valetkey.TokenSource, fake: FakeBroker) -> None:
    """Protects jobs from a rotation: obstore has no further try after a 403, so it may keep no token for its life."""
    provider = for_obstore.CredentialProvider(source)
    first = provider()["sas_token"]
    fresh = source.renew(source.current())
    assert provider()["sas_token"] == fresh.sas != first


def test_polars_is_told_an_end_that_leaves_a_fifth(source: valetkey.TokenSource, fake: FakeBroker) -> None:
    """Protects scans: polars asks at the end it was told and no sooner, when a token that truly ends then is over."""
    provider = for_polars.CredentialProvider(source)
    (options, expiry) = provider()
    left = expiry - time.time()
    assert options == {"sas_token": source.current().sas}
    assert 0.5 * MINUTES.total_seconds() < left < 0.8 * MINUTES.total_seconds()
    assert [provider()[0] for _ in range(READS)] == [options] * READS
    assert fake.calls == ["WatchToken"]


def test_the_old_token_serves_while_the_broker_is_away(fake: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects jobs from an outage: no error while a token lives, asked again each second of its last fifth."""
    with fake.token_source("az://models", ["read"]) as source:
        held = source.current()
        fake.stop()
        monkeypatch.setattr(valetkey.TokenSource, "lasts", lambda _: MINUTES.total_seconds() * 0.1)
        options, expiry = for_polars.CredentialProvider(source)()
        answer = for_obstore.CredentialProvider(source)()
        fake.start()
    assert options["sas_token"] == answer["sas_token"] == held.sas
    assert expiry <= time.time() + 1
    assert answer["expires_at"] > datetime.now(UTC) + timedelta(seconds=299)


def test_providers_travel_without_a_token(source: valetkey.TokenSource) -> None:
    """Protects tokens from pickles, as distributed queries make them, and from logs, where a repr ends."""
    source.current()
    for kind in (for_obstore.CredentialProvider, for_polars.CredentialProvider):
        provider = kind(source)
        pickled = pickle.dumps(provider)
        assert b"sig=" not in pickled
        assert "az://models" in repr(pickle.loads(pickled))  # noqa: S301 (our own)
        assert "sig=" not in repr(provider)


def test_ready_options(source: valetkey.TokenSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the one line of use: the account's place is in it; without obstore, what to install is said."""
    options = for_polars.options(source, endpoint_suffix="x")["storage_options"]
    assert options["endpoint"] == source.current().url.removesuffix("/models")
    assert (options["account_name"], options["endpoint_suffix"]) == (source.current().resource.account, "x")
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ModuleNotFoundError, match=r"install valetkey\[obstore\]"):
        for_obstore.store(source)


@pytest.mark.parametrize(("life", "seconds"), [(8, 5), (20, 5), (60, 12), (900, 180), (3600, 180)])
def test_obstore_tries_again_for_a_while(
    fake: FakeBroker, monkeypatch: pytest.MonkeyPatch, life: int, seconds: int
) -> None:
    """Protects jobs with short tokens from one slow answer, and what is told of storage from a token that has ended."""
    made: dict[str, Any] = {}
    module = ModuleType("obstore.store")
    vars(module)["AzureStore"] = lambda container, **options: made.update(options, container=container)
    monkeypatch.setitem(sys.modules, "obstore", ModuleType("obstore"))
    monkeypatch.setitem(sys.modules, "obstore.store", module)
    with fake.token_source("az://models", ["read"], ttl=timedelta(seconds=life)) as source:
        for_obstore.store(source)
    assert made["container"] == "models"
    assert made["retry_config"]["retry_timeout"].total_seconds() == pytest.approx(seconds, rel=0.05)


def test_a_source_says_how_long_its_token_lasts(source: valetkey.TokenSource) -> None:
    """Protects callers that have to be told an end: nothing before there is a token, and less than its life then."""
    assert source.lasts() == 0.0
    source.current()
    assert 0.9 * MINUTES.total_seconds() < source.lasts() < MINUTES.total_seconds()
