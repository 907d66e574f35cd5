"""API keys: exactly one good, known, living key makes a principal; everything else is refused."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from support.core import NOW, FakeClock, make_api_key, no_news
from valetkey_broker.authn.api_key_verifier import ApiKeyVerifier
from valetkey_broker.authn.authenticator import CompositeAuthenticator
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Principal, Role
from valetkey_broker.observability.redaction import scrub
from valetkey_broker.ports import CallerEvidence, Clock
from valetkey_broker.state.memory import Memory

_KEY = "vk_" + "T" * 43
_GOOD = f"Bearer {_KEY}"


def _knowing(memory: Memory, clock: Clock) -> CompositeAuthenticator:
    return CompositeAuthenticator(ApiKeyVerifier(memory, clock, RoleBindings()), None, None, clock, no_news)


async def _authenticate(authenticator: CompositeAuthenticator, headers: Sequence[str | bytes]) -> Principal:
    return await authenticator.authenticate(CallerEvidence(headers, None, "127.0.0.1"))


@pytest.fixture
def clock() -> FakeClock:
    """Tells the time to the authenticator of each test."""
    return FakeClock()


@pytest.fixture
def authenticator(clock: FakeClock) -> CompositeAuthenticator:
    """Knows one key, which ends in an hour."""
    memory = Memory()
    memory.put_api_key(make_api_key(roles=frozenset({Role.VIEWER})))
    return _knowing(memory, clock)


async def _refusal(authenticator: CompositeAuthenticator, headers: Sequence[str | bytes]) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await _authenticate(authenticator, headers)
    assert "T" * 10 not in str(caught.value) + str(caught.value.metadata), "no refusal repeats what was presented"
    return caught.value


async def test_a_known_key_makes_its_principal(authenticator: CompositeAuthenticator) -> None:
    """The principal carries the key's name and roles, and ends with the key."""
    principal = await _authenticate(authenticator, [_GOOD])
    assert principal.name == "key:trainer"
    assert principal.roles == {Role.VIEWER}
    assert principal.expires == NOW + 3600


async def test_a_key_that_was_made_elsewhere_a_moment_ago(clock: FakeClock) -> None:
    """Before a key is refused, memory catches up, once: another replica may have made it since the last poll."""
    memory, looks = Memory(), 0

    async def catch_up() -> None:
        nonlocal looks
        looks += 1
        memory.put_api_key(make_api_key())

    authenticator = CompositeAuthenticator(ApiKeyVerifier(memory, clock, RoleBindings()), None, None, clock, catch_up)
    assert (await _refusal(authenticator, ["Bearer vk_of-no-known-shape"])).reason is Reason.CREDENTIALS_INVALID
    assert looks == 0, "what cannot be a key is none anywhere"
    assert (await _authenticate(authenticator, [_GOOD])).name == "key:trainer"
    await _authenticate(authenticator, [_GOOD])
    assert looks == 1
    assert (await _refusal(authenticator, ["Bearer vk_" + "G" * 43])).reason is Reason.CREDENTIALS_INVALID
    assert looks == 2
    clock.now += 3600
    assert (await _refusal(authenticator, [_GOOD])).reason is Reason.CREDENTIALS_EXPIRED
    assert looks == 2, "an end is never put off"


async def test_no_key(authenticator: CompositeAuthenticator) -> None:
    """A caller without a key is told how to send one."""
    refusal = await _refusal(authenticator, [])
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
        [f"bearer{_KEY}"],
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
async def test_what_is_not_one_good_key(authenticator: CompositeAuthenticator, headers: Sequence[str | bytes]) -> None:
    """Two headers, bytes, other schemes, spaces, unknown and malformed keys: one reason, which tells nothing more."""
    refusal = await _refusal(authenticator, headers)
    assert refusal.reason is Reason.CREDENTIALS_INVALID
    assert scrub(refusal.message) == refusal.message, "the log must leave the hint whole"


async def test_a_key_ends_at_its_second(authenticator: CompositeAuthenticator, clock: FakeClock) -> None:
    """A key is good until its expiry, not at it; the caller is told when it was."""
    clock.now = NOW + 3599.9
    assert await _authenticate(authenticator, [_GOOD])
    clock.now = NOW + 3600
    refusal = await _refusal(authenticator, [_GOOD])
    assert refusal.reason is Reason.CREDENTIALS_EXPIRED
    assert refusal.metadata == {"expired_at": "2027-01-15T09:00:00+00:00"}


async def test_a_revoked_key_is_unknown() -> None:
    """Dropping a key from memory ends it, and a key that replaced it under its name is another."""
    memory = Memory()
    authenticator = _knowing(memory, FakeClock())
    memory.put_api_key(make_api_key())
    memory.put_api_key(make_api_key(letter="U"))
    assert (await _refusal(authenticator, [_GOOD])).reason is Reason.CREDENTIALS_INVALID
    assert await _authenticate(authenticator, ["Bearer vk_" + "U" * 43])
    memory.drop_api_key("trainer")
    memory.drop_api_key("trainer")
    assert memory.keys_by_digest == {}


def test_a_key_that_ends_earlier_ends_its_principals_earlier() -> None:
    """A rotation brings the end of the old secret forward; a later end is not given to who called before."""
    memory, clock = Memory(), FakeClock()
    verifier = ApiKeyVerifier(memory, clock, RoleBindings())
    key = make_api_key()
    memory.put_api_key(key)
    caller = verifier.verify(_KEY)
    assert verifier.refreshed(caller) is caller
    for seconds, ends in ((600, NOW + 600), (7200, NOW + 3600)):
        memory.put_api_key(replace(key, expires_at=datetime.fromtimestamp(NOW + seconds, UTC)))
        assert verifier.refreshed(caller).expires == ends
    memory.drop_api_key(key.name)
    assert verifier.refreshed(caller) is caller
    assert not verifier.still_valid(caller)


def test_a_key_of_the_same_secret_is_another() -> None:
    """Whoever called by a key that was revoked is not let go on by one that was made of its secret since."""
    memory = Memory()
    verifier = ApiKeyVerifier(memory, FakeClock(), RoleBindings())
    memory.put_api_key(make_api_key())
    caller = verifier.verify(_KEY)
    assert verifier.still_valid(caller)
    memory.drop_api_key("trainer")
    memory.put_api_key(make_api_key("other", expires=NOW + 60))
    assert not verifier.still_valid(caller)
    assert verifier.refreshed(caller) is caller
    assert verifier.verify(_KEY).name == "key:other"
