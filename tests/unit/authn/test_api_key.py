"""ApiKeyAuthenticator: exactly one good, known, living key makes a principal; everything else is refused."""

from collections.abc import Sequence

import pytest

from broker.authn.api_key import ApiKeyAuthenticator
from broker.errors import BrokerError, Reason
from broker.model import Role
from broker.observability.redaction import scrub
from broker.state.memory import Memory
from support.core import NOW, FakeClock, make_api_key

_KEY = "vk_" + "T" * 43
_GOOD = f"Bearer {_KEY}"


@pytest.fixture
def clock() -> FakeClock:
    """Tells the time to the authenticator of each test."""
    return FakeClock()


@pytest.fixture
def authenticator(clock: FakeClock) -> ApiKeyAuthenticator:
    """Knows one key, which ends in an hour."""
    memory = Memory()
    memory.put_api_key(make_api_key())
    return ApiKeyAuthenticator(memory, clock)


def _refusal(authenticator: ApiKeyAuthenticator, headers: Sequence[str | bytes]) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        authenticator.authenticate(headers)
    assert "T" * 10 not in str(caught.value) + str(caught.value.metadata), "no refusal repeats what was presented"
    return caught.value


def test_a_known_key_makes_its_principal(authenticator: ApiKeyAuthenticator) -> None:
    """The principal carries the key's name, roles and connectors."""
    principal = authenticator.authenticate([_GOOD])
    assert principal.name == "key:trainer"
    assert principal.roles == {Role.CONSUMER}
    assert principal.connectors == {"azure-blob-demo"}


def test_no_key(authenticator: ApiKeyAuthenticator) -> None:
    """A caller without a key is told how to send one."""
    refusal = _refusal(authenticator, [])
    assert refusal.reason is Reason.CREDENTIALS_MISSING
    assert "authorization: Bearer" in refusal.message
    assert scrub(refusal.message) == refusal.message, "the log must leave the hint whole"


@pytest.mark.parametrize(
    "headers",
    [
        [_GOOD, _GOOD],
        [_GOOD, "Bearer " + "x" * 46],
        [_GOOD.encode()],
        [_GOOD, b""],
        [""],
        [_KEY],
        ["Bearer"],
        ["Bearer "],
        [f"bearer {_KEY}"],
        [f"Basic {_KEY}"],
        [f"Bearer  {_KEY}"],
        [f"{_GOOD} "],
        [f"{_GOOD}\n"],
        [f"{_GOOD}, {_GOOD}"],
        [f"Bearer {_KEY[:-1]}"],
        [f"Bearer {_KEY}T"],
        ["Bearer vk_" + "U" * 43],
        ["Bearer vk_" + "t" * 43],
        ["Bearer vk_" + "\u0422" * 43],
        ["Bearer " + "a" * 100_000],
    ],
)
def test_what_is_not_one_good_key(authenticator: ApiKeyAuthenticator, headers: Sequence[str | bytes]) -> None:
    """Two headers, bytes, other schemes, spaces, unknown and malformed keys: one reason, which tells nothing more."""
    refusal = _refusal(authenticator, headers)
    assert refusal.reason is Reason.CREDENTIALS_INVALID
    assert scrub(refusal.message) == refusal.message, "the log must leave the hint whole"


def test_a_key_ends_at_its_second(authenticator: ApiKeyAuthenticator, clock: FakeClock) -> None:
    """A key is good until its expiry, not at it; the caller is told when it was."""
    clock.now = NOW + 3599.9
    assert authenticator.authenticate([_GOOD])
    clock.now = NOW + 3600
    refusal = _refusal(authenticator, [_GOOD])
    assert refusal.reason is Reason.CREDENTIALS_EXPIRED
    assert refusal.metadata == {"expired_at": "2027-01-15T09:00:00+00:00"}


def test_a_revoked_key_is_unknown() -> None:
    """Dropping a key from memory ends it, and a key that replaced it under its name is another."""
    memory = Memory()
    authenticator = ApiKeyAuthenticator(memory, FakeClock())
    memory.put_api_key(make_api_key())
    memory.put_api_key(make_api_key(letter="U"))
    assert _refusal(authenticator, [_GOOD]).reason is Reason.CREDENTIALS_INVALID
    assert authenticator.authenticate(["Bearer vk_" + "U" * 43])
    memory.drop_api_key("trainer")
    memory.drop_api_key("trainer")
    assert memory.keys_by_digest == {}
