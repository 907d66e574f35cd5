"""The login's keeper: when it renews, when it logs in, and how it fails, on a client that is told what to do."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from hvac import exceptions
from structlog.testing import capture_logs

from support.stopwatch import ends_within
from valetkey_broker.adapters.vault.blocking_calls import Calls
from valetkey_broker.adapters.vault.client import Token, VaultClient
from valetkey_broker.adapters.vault.login import Login
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Secret


class FakeClient:
    """The part of VaultClient that a login uses. Failures are raised in their order, one for each call."""

    def __init__(self) -> None:
        self.lease = 600.0
        self.renewable = True
        self.did: list[str] = []
        self.login_failures: list[Exception] = []
        self.renew_failures: list[Exception] = []
        self.revoke_failures: list[Exception] = []
        self.revoked: list[str] = []
        self.renewed_lease: float | None = None
        self.gate = threading.Event()
        self.gate.set()

    def log_in(self) -> Token:
        self.did.append("log in")
        self.gate.wait(5)
        if self.login_failures:
            raise self.login_failures.pop(0)
        return Token(Secret(f"token-{len(self.did)}"), self.lease, self.renewable)

    def use(self, token: Token) -> None:
        self.did.append("use")

    def renew(self) -> Token:
        self.did.append("renew")
        if self.renew_failures:
            raise self.renew_failures.pop(0)
        return Token(Secret("token"), self.lease if self.renewed_lease is None else self.renewed_lease, self.renewable)

    def revoke(self, token: Token) -> None:
        self.did.append("revoke")
        self.revoked.append(token.value.reveal())
        if self.revoke_failures:
            raise self.revoke_failures.pop(0)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def login(client: FakeClient) -> AsyncIterator[Login]:
    calls = Calls(timeout=5.0)
    keeper = Login(cast("VaultClient", client), calls)
    yield keeper
    client.gate.set()
    await keeper.close()
    calls.close()


async def until(done: Any) -> None:
    """Waits until `done()` is true, for five seconds at most."""
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 (a thread of the keeper's makes it true)
            await asyncio.sleep(0.005)


async def test_callers_share_one_login(client: FakeClient, login: Login) -> None:
    """A herd of callers at a cold start is one login at Vault."""
    client.gate.clear()
    callers = [asyncio.create_task(login.ensure()) for _ in range(20)]
    await until(lambda: client.did)
    client.gate.set()
    assert await asyncio.gather(*callers) == [1] * 20
    assert client.did == ["log in", "use"]


async def test_callers_share_a_failed_login_and_the_next_tries_again(client: FakeClient, login: Login) -> None:
    """A failure is told to all who waited, at once; it is not kept for those who come later."""
    client.gate.clear()
    client.login_failures = [exceptions.VaultDown(errors=["Vault is sealed"])]
    callers = [asyncio.create_task(login.ensure()) for _ in range(20)]
    await until(lambda: client.did)
    client.gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert {outcome.metadata["cause"] for outcome in outcomes if isinstance(outcome, BrokerError)} == {"sealed"}
    assert len(outcomes) == 20
    assert client.did == ["log in"]
    assert await login.ensure() == 1


async def test_failed_login_that_nobody_waits_for_is_no_noise(client: FakeClient, login: Login) -> None:
    """When every caller has given up, the login's failure is not reported as an exception nobody looked at."""
    client.gate.clear()
    client.login_failures = [exceptions.VaultDown()]
    caller = asyncio.create_task(login.ensure())
    await until(lambda: client.did)
    caller.cancel()
    client.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await login._logins.settle()
    assert await login.ensure() == 1


async def test_only_the_first_who_saw_it_lapse_logs_in(client: FakeClient, login: Login) -> None:
    """Callers that were denied with an old token use the login that another has made since."""
    seen = await login.ensure()
    await login.anew(seen)
    await login.anew(seen)
    assert login.generation == 2
    assert client.did.count("log in") == 2


async def test_each_new_login_gives_the_one_before_back(client: FakeClient, login: Login) -> None:
    """Tokens that live for weeks do not pile up in Vault where its policy, and not the token, refuses something."""
    for seen in range(3):
        await login.anew(seen)
    await login.close()
    assert client.did.count("log in") == 3
    assert sorted(client.revoked) == sorted({f"token-{at}" for at, did in enumerate(client.did, 1) if did == "log in"})


async def test_a_login_that_gives_the_same_token_again_keeps_it(
    client: FakeClient, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies before Vault may answer a login out of their cache."""
    monkeypatch.setattr(client, "log_in", lambda: Token(Secret("cached"), 60.0, renewable=True))
    await login.anew(0)
    await login.anew(1)
    assert login.generation == 2
    await until(lambda: not login._returning)
    assert client.revoked == []


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (exceptions.Forbidden(errors=["permission denied"]), []),
        (exceptions.InvalidRequest(errors=["batch tokens cannot be revoked"]), []),
        (exceptions.VaultDown(errors=["Vault is sealed"]), ["sealed"]),
    ],
    ids=["lapsed", "batch token", "away"],
)
async def test_a_token_that_cannot_be_given_back_is_told_where_it_lives_on(
    client: FakeClient, login: Login, failure: Exception, told: list[str]
) -> None:
    """One that has lapsed, or is of a kind that Vault does not revoke, is nothing to look after."""
    client.revoke_failures = [failure]
    with capture_logs() as lines:
        for seen in range(2):
            await login.anew(seen)
        await until(lambda: not login._returning)
    assert [line["cause"] for line in lines if line["event"] == "the Vault token was not revoked"] == told


async def test_login_is_renewed_at_about_half_its_life(client: FakeClient, login: Login) -> None:
    """Renewal comes well before the end, and not at the same moment in every replica."""
    await login.ensure()
    pauses = [login._pause() for _ in range(200)]
    assert 240 <= min(pauses) < 290
    assert 310 < max(pauses) <= 360


async def test_login_that_never_lapses_is_left_alone(client: FakeClient, login: Login) -> None:
    """A lease of 0 stands for "for ever": it must not become a loop without a pause."""
    client.lease = 0.0
    await login.ensure()
    assert login._pause() > 1000
    assert client.did == ["log in", "use"]


async def test_renewal_goes_on(client: FakeClient, login: Login) -> None:
    """The keeper renews again and again, without a new login."""
    client.lease = 0.02
    await login.ensure()
    await until(lambda: client.did.count("renew") >= 3)
    assert client.did.count("log in") == 1


@pytest.mark.parametrize(
    "failure",
    [
        exceptions.Forbidden(errors=["permission denied"]),
        exceptions.InvalidRequest(errors=["lease is not renewable"]),
        exceptions.InternalServerError(errors=["past the max TTL, cannot renew"]),
    ],
    ids=["lapsed", "not renewable", "past its maximal life"],
)
async def test_token_that_cannot_be_renewed_is_replaced(client: FakeClient, login: Login, failure: Exception) -> None:
    """When Vault will not renew, the keeper logs in, before any caller notices."""
    client.lease = 0.02
    client.renew_failures = [failure]
    with capture_logs() as lines:
        await login.ensure()
        await until(lambda: client.did.count("log in") == 2)
    assert "the Vault token was not renewed" not in {line["event"] for line in lines}


async def test_token_whose_renewals_get_short_is_replaced(client: FakeClient, login: Login) -> None:
    """Near the token's maximal life each renewal gives less: logging in beats renewing ever faster."""
    client.lease, client.renewed_lease = 0.2, 0.05
    await login.ensure()
    await until(lambda: client.did.count("log in") == 2)
    assert client.did.count("renew") == 1


async def test_token_that_is_not_renewable_is_replaced(client: FakeClient, login: Login) -> None:
    """A batch token is never renewed, only replaced."""
    client.lease, client.renewable = 0.02, False
    await login.ensure()
    await until(lambda: client.did.count("log in") == 2)
    assert "renew" not in client.did


async def test_renewal_waits_longer_after_each_failure_and_recovers(client: FakeClient, login: Login) -> None:
    """With Vault away the keeper tries on, ever more slowly up to a bound, says so, and goes on when it is back."""
    client.lease = 0.02
    client.renew_failures = [exceptions.VaultDown(errors=["Vault is sealed"])]
    with capture_logs() as lines:
        await login.ensure()
        await until(lambda: client.did.count("renew") >= 2)
    assert [line["cause"] for line in lines if line["event"] == "the Vault token was not renewed"] == ["sealed"]
    assert "token-" not in repr(lines)
    pauses = []
    for failures in (1, 2, 3, 50):
        login._failures = failures
        pauses.append(login._pause())
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3] <= 18


async def test_renewal_goes_on_after_an_error_that_nobody_thought_of(client: FakeClient, login: Login) -> None:
    """A mistake of ours does not let the token lapse; the text of the error stays inside."""
    client.lease = 0.02
    client.renew_failures = [RuntimeError("PLANTED-in-an-exception")]
    with capture_logs() as lines:
        await login.ensure()
        await until(lambda: client.did.count("renew") >= 2)
    (line,) = (line for line in lines if line["log_level"] == "error")
    assert line["frames"][0] == "builtins.RuntimeError"
    assert "PLANTED" not in repr(lines)


async def test_close_takes_no_longer_than_one_call(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much hangs with Vault: a login that is under way, and giving back the one before it."""
    go_on = threading.Event()
    calls = Calls(timeout=6.0)
    login = Login(cast("VaultClient", client), calls)
    await login.ensure()
    for name in ("log_in", "revoke"):
        monkeypatch.setattr(client, name, lambda *_: go_on.wait(60))
    caller = asyncio.create_task(login.anew(1))
    await asyncio.sleep(0)
    with ends_within(), capture_logs() as lines:
        await login.close()
    assert [line["event"] for line in lines] == ["the Vault token was not revoked"]
    with pytest.raises(BrokerError):
        await caller
    go_on.set()
    calls.close()


async def test_close_during_a_login_gives_that_back_too(client: FakeClient, login: Login) -> None:
    """A stop in the middle of a login leaves no token in Vault; later calls are told that the broker stops."""
    client.gate.clear()
    caller = asyncio.create_task(login.ensure())
    await until(lambda: client.did)
    closing = asyncio.create_task(login.close())
    await asyncio.sleep(0)
    client.gate.set()
    await closing
    await caller
    assert client.did == ["log in", "use", "revoke"]
    with pytest.raises(BrokerError, match="stopping"):
        await login.ensure()
