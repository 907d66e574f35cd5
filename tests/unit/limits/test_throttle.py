"""Throttle: who is refused, in which words, for how long, and who is not."""

import pytest

from support.core import FakeClock, principal
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.limits import Throttle
from valetkey_broker.settings import LimitsSettings

WRONG = BrokerError(Reason.CREDENTIALS_INVALID, "wrong")


def make(clock: FakeClock | None = None, **settings: float) -> Throttle:
    return Throttle(LimitsSettings.model_validate(settings), clock or FakeClock())


def test_a_principal_that_asks_too_often() -> None:
    """Each principal has its own limit; the refusal says which, and when to come back."""
    clock = FakeClock()
    throttle = make(clock, issue_burst=2, issue_per_second=3)
    caller = principal(name="key:trainer")
    throttle.ask(caller)
    throttle.ask(caller)
    with pytest.raises(BrokerError) as caught:
        throttle.ask(caller)
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.metadata == {"limit": "issuing", "per": "principal"}
    assert caught.value.retry_after == 0.334  # A third of a second; rounded up, or it would not be enough.
    throttle.ask(principal(name="key:other"))
    clock.now += 0.334
    throttle.ask(caller)


def test_failed_authentications_of_an_address() -> None:
    """The first ones are told what is wrong, then to wait; another address is not concerned."""
    throttle = make(failed_authentication_burst=2)
    assert throttle.failed("192.0.2.1", WRONG) is throttle.failed("192.0.2.1", WRONG) is WRONG
    told = throttle.failed("192.0.2.1", WRONG)
    assert (told.reason, told.retry_after) == (Reason.RATE_LIMITED, 1.0)
    assert told.metadata == {"limit": "failed authentications", "per": "address"}
    assert throttle.failed("192.0.2.2", WRONG) is WRONG


def test_an_issuer_that_is_away_is_not_the_callers_fault() -> None:
    """While an issuer's keys cannot be had callers hear so, however often, and use up nothing."""
    throttle = make(failed_authentication_burst=1)
    away = BrokerError(Reason.ISSUER_UNAVAILABLE, "away", retry_after=3)
    for _ in range(10):
        assert throttle.failed("192.0.2.1", away) is away
    assert throttle.failed("192.0.2.1", WRONG) is WRONG


@pytest.mark.parametrize("reason", ["CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED"])
def test_every_kind_of_failure_counts(reason: str) -> None:
    """No kind of failed authentication is free."""
    throttle = make(failed_authentication_burst=1)
    error = BrokerError(Reason[reason], "no")
    assert throttle.failed("192.0.2.1", error) is error
    assert throttle.failed("192.0.2.1", error).reason is Reason.RATE_LIMITED


def test_ipv6_counts_by_network() -> None:
    """Who has a network of IPv6 addresses does not get a limit for each; the network beside it has its own."""
    throttle = make(failed_authentication_burst=1)
    assert throttle.failed("2001:db8:0:1::1", WRONG) is WRONG
    assert throttle.failed("2001:db8:0:1:ffff::2", WRONG).reason is Reason.RATE_LIMITED
    assert throttle.failed("2001:db8:0:2::1", WRONG) is WRONG


def test_addresses_of_other_shapes() -> None:
    """IPv4 inside IPv6 is told apart; a socket's path is an address too."""
    throttle = make(failed_authentication_burst=1)
    for peer in ("::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1", "unix:/run/broker.sock", ""):
        assert throttle.failed(peer, WRONG) is WRONG
        assert throttle.failed(peer, WRONG).reason is Reason.RATE_LIMITED
