"""The keys of an issuer: rotated, shared, kept for a while, never hammered for."""

import asyncio
from typing import Any

import pytest

from support.core import NOW
from support.oidc import Signer, claims, mint
from support.oidc_verifier import Oidc
from support.refusals import problem, refusal
from support.waiting import eventually
from valetkey_broker.authn.jwks import read_jwks
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Standing
from valetkey_broker.ports import KeySourceError


async def settled(oidc: Oidc) -> None:
    """Waits for a fetch in the background."""
    await oidc.ring._fetches.settle()


async def test_rotation(oidc: Oidc) -> None:
    """A token signed with a new key is believed at once: its unknown kid makes the broker look."""
    await oidc.verifier.verify(mint(claims(NOW)))
    new = Signer("two", which=2)
    oidc.source.show(Signer(), new)
    oidc.clock.now += 10
    await oidc.verifier.verify(mint(claims(NOW), new))
    assert oidc.source.fetches == 2
    await oidc.verifier.verify(mint(claims(NOW, sub="other")))
    assert oidc.source.fetches == 2


async def test_rotation_under_the_same_name(oidc: Oidc) -> None:
    """A new key that has the old one's kid is believed at once, and the old one's tokens no more."""
    cached = mint(claims(NOW))
    await oidc.verifier.verify(cached)
    new = Signer("one", which=2)
    oidc.source.show(new)
    oidc.clock.now += 10
    await oidc.verifier.verify(mint(claims(NOW), new))
    assert oidc.source.fetches == 2
    assert await problem(oidc.verifier.verify(cached)) == ("CREDENTIALS_INVALID", "signature")


async def test_forged_tokens_do_not_hammer_an_issuer(oidc: Oidc) -> None:
    """However many come, and whatever becomes of the fetch, it is asked once in a while and others go on."""
    good = mint(claims(NOW))
    await oidc.verifier.verify(good)
    forger = Signer("one", which=2)
    for seconds, fetches in ((0, 1), (9, 1), (1, 2), (9, 2)):
        oidc.clock.now += seconds
        oidc.source.fail = True
        for number in range(3):
            forged = mint(claims(NOW, sub=f"s{number}"), forger)
            assert await problem(oidc.verifier.verify(forged)) == ("CREDENTIALS_INVALID", "signature")
        assert oidc.source.fetches == fetches
        await oidc.verifier.verify(good)


async def test_callers_share_one_fetch(oidc: Oidc) -> None:
    """A herd of cold callers asks the issuer once, and one that gives up does not take the answer from the others."""
    oidc.source.gate.clear()
    waiting = [asyncio.create_task(oidc.verifier.verify(mint(claims(NOW, sub=f"s{n}")))) for n in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0.01)
    oidc.source.gate.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert not [each for each in done[1:] if isinstance(each, BaseException)]
    assert oidc.source.fetches == 1


async def test_keys_are_renewed_in_the_background(oidc: Oidc) -> None:
    """Old keys are renewed while callers go on; nobody waits for it, cached tokens trigger it too."""
    presented = mint(claims(NOW))
    await oidc.verifier.verify(presented)
    oidc.clock.now += 300
    oidc.source.gate.clear()
    await asyncio.wait_for(oidc.verifier.verify(presented), 30)
    await asyncio.wait_for(oidc.verifier.verify(mint(claims(NOW, sub="new"))), 30)
    await eventually(lambda: oidc.source.fetches == 2)
    oidc.source.gate.set()
    await settled(oidc)
    assert oidc.source.fetches == 2


async def test_a_withdrawn_key_is_not_believed_after_a_quiet_spell(oidc: Oidc) -> None:
    """Keys nobody asked for in a while are had anew before the first caller is believed: cached token or not."""
    cached = mint(claims(NOW))
    await oidc.verifier.verify(cached)
    oidc.source.show(Signer("two", which=2))
    oidc.clock.now += 600
    waiting = [oidc.verifier.verify(each) for each in (cached, mint(claims(NOW, sub="other")), cached)]
    for refused in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(refused, BrokerError)
        assert refused.metadata["problem"] == "key"
    assert oidc.source.fetches == 2


async def test_after_a_quiet_spell_with_the_issuer_away(oidc: Oidc) -> None:
    """Then the old keys do, as long as they are believed at all; and only the first callers wait."""
    cached = mint(claims(NOW))
    await oidc.verifier.verify(cached)
    oidc.source.fail = True
    oidc.clock.now += 600
    await oidc.verifier.verify(cached)
    assert oidc.source.fetches == 2
    oidc.clock.now += 10
    oidc.source.gate.clear()
    await asyncio.wait_for(oidc.verifier.verify(cached), 30)
    oidc.source.gate.set()
    await settled(oidc)


async def test_keys_outlive_their_issuer_for_a_bounded_time(oidc: Oidc) -> None:
    """With the issuer away tokens are believed for an hour; then nobody can tell, and callers are told to come back."""
    await oidc.verifier.verify(mint(claims(NOW)))
    oidc.source.fail = True
    oidc.clock.now = NOW + 3599
    await oidc.verifier.verify(mint(claims(NOW + 3599)))
    await settled(oidc)
    oidc.clock.now = NOW + 3600
    cached = mint(claims(NOW + 3599))
    error = await refusal(oidc.verifier.verify(cached))
    assert error.reason.name == "ISSUER_UNAVAILABLE"
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 10
    oidc.source.fail = False
    oidc.clock.now = NOW + 3620
    await oidc.verifier.verify(cached)


async def test_standing_of_a_key(oidc: Oidc) -> None:
    """A key that is shown is good, one that is not has ended; with nothing heard for an hour, nobody can tell."""
    (key,) = await oidc.ring.find("one", "RS256")
    gone = read_jwks({"keys": [Signer("gone", which=2).jwk()]})["gone"][0]
    assert [oidc.ring.standing(each) for each in (key, gone)] == [Standing.GOOD, Standing.ENDED]
    oidc.source.fail = True
    oidc.clock.now = NOW + 3600
    assert [oidc.ring.standing(each) for each in (key, gone)] == [Standing.UNKNOWN, Standing.UNKNOWN]
    await settled(oidc)
    assert oidc.source.fetches == 2  # Whoever asks has the keys asked for, too.


async def test_issuer_away_from_the_start(oidc: Oidc) -> None:
    """Without any keys nothing is believed, the issuer is asked at most every 10 s, and it recovers by itself."""
    oidc.source.fail = True
    for _ in range(20):
        assert await problem(oidc.verifier.verify(mint(claims(NOW)))) == ("ISSUER_UNAVAILABLE", "")
    assert oidc.source.fetches == 1
    oidc.source.fail = False
    oidc.clock.now += 10
    await oidc.verifier.verify(mint(claims(NOW)))


async def test_new_key_while_the_issuer_is_away(oidc: Oidc) -> None:
    """Nobody can tell then whether it is the issuer's: callers come again, until it says so or that it is not."""
    new = Signer("two", which=2)
    await oidc.verifier.verify(mint(claims(NOW)))
    oidc.source.fail = True
    oidc.clock.now += 10
    assert await problem(oidc.verifier.verify(mint(claims(NOW), new))) == ("ISSUER_UNAVAILABLE", "")
    await oidc.verifier.verify(mint(claims(NOW, sub="another")))
    oidc.source.fail = False
    oidc.clock.now += 10
    assert await problem(oidc.verifier.verify(mint(claims(NOW), new))) == ("CREDENTIALS_INVALID", "key")
    oidc.source.show(new)
    oidc.clock.now += 10
    await oidc.verifier.verify(mint(claims(NOW), new))


async def test_source_that_breaks_the_rules(oidc: Oidc) -> None:
    """An error that no source should raise is a failed fetch, not an open door or a hung caller."""
    oidc.source.document = None  # type: ignore[assignment]
    assert await problem(oidc.verifier.verify(mint(claims(NOW)))) == ("ISSUER_UNAVAILABLE", "")


async def test_closing_ends_a_fetch(oidc: Oidc) -> None:
    """A shutdown does not wait for an issuer that hangs."""
    oidc.source.gate.clear()
    waiting = asyncio.create_task(oidc.verifier.verify(mint(claims(NOW))))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(oidc.verifier.close(), 30)
    with pytest.raises(BrokerError) as caught:
        await waiting
    assert caught.value.reason is Reason.ISSUER_UNAVAILABLE


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"},
        Signer(kind="RSA-1024").jwk(),
        Signer().jwk(use="enc"),
        Signer().jwk(key_ops=["encrypt"]),
        Signer().jwk(key_ops="verify"),
        Signer().jwk(kid=None),
        Signer().jwk(kid=7),
        Signer().jwk(kid="x" * 257),
        Signer().jwk(alg="ES256"),
        Signer().jwk(alg="HS256"),
        Signer().jwk(alg=["RS256"]),
        Signer().jwk(n="!"),
        Signer().jwk(e=None),
        Signer().jwk(kty="EC"),
        Signer().jwk(kty=["RSA"]),
        Signer(algorithm="ES256").jwk(crv="secp256k1"),
        Signer(algorithm="ES256").jwk(x="AAAA"),
        "key",
        None,
    ],
)
def test_unusable_keys_are_left_out(jwk: Any) -> None:
    """Symmetric, weak, foreign and broken keys verify nothing, and do not take the good ones along."""
    assert list(read_jwks({"keys": [jwk, Signer("good", which=3).jwk()]})) == ["good"]


def test_private_key_is_left_out() -> None:
    """An issuer that publishes its private key has lost it."""
    from jwt.algorithms import RSAAlgorithm

    leaked = {**RSAAlgorithm.to_jwk(Signer().private, as_dict=True), "kid": "one"}
    leaked["key_ops"] = ["verify", "sign"]
    assert not read_jwks({"keys": [leaked]})


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": [{}] * 101}])
def test_not_a_jwks(document: Any) -> None:
    """What is no list of keys is an error, so that the keys known so far stay."""
    with pytest.raises(KeySourceError, match="not a JWKS"):
        read_jwks(document)


async def test_key_of_a_kind_that_does_not_fit(oidc: Oidc) -> None:
    """A token cannot have its key used for another algorithm than the key is for."""
    oidc.source.document = {"keys": [Signer(algorithm="ES256").jwk()]}
    assert await problem(oidc.verifier.verify(mint(claims(NOW)))) == ("CREDENTIALS_INVALID", "algorithm")


async def test_two_keys_of_one_kid(oidc: Oidc) -> None:
    """Where two keys share a kid, the one that fits the algorithm is taken."""
    oidc.source.document = {"keys": [Signer(algorithm="ES256").jwk(), Signer().jwk()]}
    await oidc.verifier.verify(mint(claims(NOW)))
    await oidc.verifier.verify(mint(claims(NOW), Signer(algorithm="ES256")))


async def test_two_keys_of_one_kid_and_kind(oidc: Oidc) -> None:
    """Where both fit, a token of either is believed."""
    other = Signer("one", which=2)
    oidc.source.document = {"keys": [Signer().jwk(), other.jwk()]}
    await oidc.verifier.verify(mint(claims(NOW)))
    await oidc.verifier.verify(mint(claims(NOW), other))
    assert oidc.source.fetches == 1


async def test_what_streams_are_told_of(oidc: Oidc) -> None:
    """A key that is withdrawn, or not believed any more, is news to streams; the same keys fetched again are not.

    Keys are looked after for streams only while one of them stands on a key of the issuer.
    """
    principal = await oidc.verifier.verify(mint(claims(NOW)))
    first = oidc.verifier.vouchers()
    oidc.clock.now += 300
    assert oidc.verifier.vouchers() == first
    await settled(oidc)
    assert oidc.source.fetches == 1
    oidc.verifier.standing(principal)
    await settled(oidc)
    assert oidc.source.fetches == 2
    assert oidc.verifier.vouchers() == first
    oidc.source.show(Signer("two", which=2))
    oidc.clock.now += 299
    oidc.verifier.standing(principal)  # As streams ask now and then.
    oidc.clock.now += 1
    oidc.verifier.vouchers()
    await settled(oidc)
    assert oidc.source.fetches == 3
    second = oidc.verifier.vouchers()
    assert second != first
    assert oidc.verifier.standing(principal) is Standing.ENDED
    oidc.clock.now += 3600
    assert oidc.verifier.vouchers() != second
