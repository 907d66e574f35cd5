"""Attacks on tokens: forged, replayed, mixed up, or sent to wear the issuer down."""

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import serialization

from support.core import NOW
from support.oidc import Signer, claims, forge, mint
from support.oidc_verifier import Oidc
from support.refusals import problem, refusal

HEADER = {"typ": "JWT", "kid": "one"}


@pytest.fixture
def oidc() -> Oidc:
    return Oidc()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, ["RS256"], "RS256 ", "rs256"])
async def test_token_without_a_signature(oidc: Oidc, name: object) -> None:
    """`alg: none` in every spelling is refused, with and without something in the signature's place."""
    for signature in (b"", b"x" * 256):
        presented = forge(claims(NOW), {**HEADER, "alg": name}, signature)
        assert await problem(oidc.verifier.verify(presented)) in (
            ("CREDENTIALS_INVALID", "algorithm"),
            ("CREDENTIALS_INVALID", "malformed"),
        )


@pytest.mark.parametrize("form", ["PEM", "DER", "JWK", "n"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
async def test_public_key_as_a_shared_secret(oidc: Oidc, form: str, digest: str) -> None:
    """A token signed with HMAC and the public key, which everybody has, is refused."""
    public, jwk = Signer().private.public_key(), Signer().jwk()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "PEM": public.public_bytes(serialization.Encoding.PEM, info),
        "DER": public.public_bytes(serialization.Encoding.DER, info),
        "JWK": json.dumps(jwk).encode(),
        "n": str(jwk["n"]).encode(),
    }[form]
    header = {**HEADER, "alg": f"HS{digest[3:]}"}
    unsigned = forge(claims(NOW), header).rstrip(".")
    presented = forge(claims(NOW), header, hmac.digest(secret, unsigned.encode(), digest))
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "algorithm")


async def test_asymmetric_algorithm_that_is_not_allowed(oidc: Oidc) -> None:
    """An issuer's algorithms are those the operator listed, even where the key would fit."""
    oidc.source.show(Signer(algorithm="PS256"))
    presented = mint(claims(NOW), Signer(algorithm="PS256"))
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "algorithm")


async def test_signature_of_somebody_else(oidc: Oidc) -> None:
    """A signature by another key under a known kid, a cut one, and one over other claims are all refused alike."""
    good = mint(claims(NOW))
    head, _, signature = good.split(".")
    other = mint(claims(NOW, sub="admin")).split(".")[1]
    for presented in (
        mint(claims(NOW), Signer(which=9)),
        good[:-6],  # Still whole bytes.
        f"{head}.{other}.{signature}",
        good.rsplit(".", 1)[0] + ".",
    ):
        assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "signature")


async def test_forger_learns_nothing_of_the_claims(oidc: Oidc) -> None:
    """Claims are judged after the signature only: a forged token does not find out how good its claims were."""
    answers = {
        str((await refusal(oidc.verifier.verify(mint(claims(NOW, **change), Signer(which=9))))).message)
        for change in ({}, {"aud": "x"}, {"exp": NOW - 999}, {"sub": None}, {"nbf": NOW + 999})
    }
    assert len(answers) == 1


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": Signer(which=9).jwk()},
        {"jku": "https://evil.invalid/jwks"},
        {"x5u": "https://evil.invalid/x5u"},
        {"x5c": ["AAAA"]},
    ],
)
async def test_key_that_the_token_brings_along(oidc: Oidc, header: dict[str, object]) -> None:
    """A key, or the address of one, in the token itself is not looked at."""
    presented = mint(claims(NOW), Signer(which=9), **header)
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "signature")
    assert oidc.source.fetches == 1


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": "b64"}, {"b64": True, "crit": ["b64"]}, {"b64": True}, {"b64": None}],
)
async def test_critical_header(oidc: Oidc, header: dict[str, object]) -> None:
    """What a token calls critical and nobody here understands makes it unusable."""
    presented = forge(claims(NOW), {**HEADER, "alg": "RS256", **header}, b"x" * 256)
    reason, found = await problem(oidc.verifier.verify(presented))
    assert reason == "CREDENTIALS_INVALID"
    assert found in ("algorithm", "malformed")


@pytest.mark.parametrize("kid", [None, "", 7, ["one"], "x" * 257, {"a": 1}])
async def test_kid_that_names_nothing(oidc: Oidc, kid: object) -> None:
    """A token has to name its key; an odd name does not reach the issuer."""
    header = {**HEADER, "alg": "RS256", "kid": kid}
    reason, found = await problem(oidc.verifier.verify(forge(claims(NOW), header, b"x" * 256)))
    assert (reason, found in ("key", "malformed")) == ("CREDENTIALS_INVALID", True)
    assert oidc.source.fetches == 0


@pytest.mark.parametrize("kid", ["../../etc/passwd", "one\x00", "one' OR '1'='1", "ONE", "one "])
async def test_kid_is_compared_and_nothing_else(oidc: Oidc, kid: str) -> None:
    """A kid is no path, no query and not folded: only the very same text finds the key."""
    presented = mint(claims(NOW), Signer(kid))
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "key")


async def test_storm_of_unknown_kids(oidc: Oidc) -> None:
    """A thousand tokens with kids nobody knows cost the issuer one request, and good tokens go on working."""
    await oidc.verifier.verify(mint(claims(NOW)))
    assert oidc.source.fetches == 1
    oidc.clock.now += 60
    for number in range(1000):
        presented = forge(claims(NOW), {"alg": "RS256", "kid": f"kid-{number}"}, b"x" * 256)
        assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "key")
    assert oidc.source.fetches == 2
    await oidc.verifier.verify(mint(claims(NOW, sub="honest")))
    oidc.clock.now += 10
    await problem(oidc.verifier.verify(forge(claims(NOW), {"alg": "RS256", "kid": "more"}, b"x" * 256)))
    assert oidc.source.fetches == 3


@pytest.mark.parametrize("payload", [b"[]", b"1", b"null", b'"x"', b"", b"{", b"\xff\xfe", b"[" * 5000])
async def test_payload_that_is_no_object(oidc: Oidc, payload: bytes) -> None:
    """Signed nonsense, however deep, is refused and harms nobody."""
    assert await problem(oidc.verifier.verify(mint(payload))) == ("CREDENTIALS_INVALID", "malformed")


async def test_long_token_is_refused_unread(oidc: Oidc) -> None:
    """A token over 8 KiB is not even parsed."""
    presented = mint(claims(NOW, padding="x" * 8192))
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "length")
    assert oidc.source.fetches == 0


async def test_replay_after_the_end_fails(oidc: Oidc) -> None:
    """A token seen and remembered while it was good is refused once its time is over."""
    presented = mint(claims(NOW, exp=NOW + 60))
    await oidc.verifier.verify(presented)
    oidc.clock.now += 90
    assert (await problem(oidc.verifier.verify(presented)))[0] == "CREDENTIALS_EXPIRED"


async def test_refusals_repeat_nothing_of_the_token(oidc: Oidc) -> None:
    """What a token says, and what would have been right, stays out of the words of a refusal."""
    planted = "PLANTED-claim"
    for change in ({"aud": planted}, {"iss": planted}, {"sub": f"{planted}\n"}, {"exp": planted}):
        error = await refusal(oidc.verifier.verify(mint(claims(NOW, **change))))
        said = f"{error.message} {error.metadata}"
        assert planted not in said
        assert "'valetkey'" not in said


async def test_remembered_tokens_are_found_by_their_whole_digest(oidc: Oidc) -> None:
    """The cache holds SHA-256 digests, never tokens, and a token one character off is verified anew."""
    presented = mint(claims(NOW))
    await oidc.verifier.verify(presented)
    assert list(oidc.verifier._verified) == [hashlib.sha256(presented.encode()).digest()]
