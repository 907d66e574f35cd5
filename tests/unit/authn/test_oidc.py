"""Tokens of issuers: who is believed, and as whom."""

import base64
from typing import Any

import pytest
from cachetools import LRUCache
from hypothesis import given
from hypothesis import strategies as st

from support.core import NOW
from support.oidc import AUDIENCE, ISSUER, SUBJECT, Signer, claims, mint
from support.oidc_verifier import Oidc
from support.refusals import problem, refusal
from valetkey_broker.authn.claims import ClaimRules, check_claims
from valetkey_broker.authn.issuer_keys import KeyRing
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Evidence, Pattern, Role, check_principal, principal_pattern


def token(signer: Signer | None = None, **more: Any) -> str:
    return mint(claims(NOW, **more), signer)


async def settled(ring: KeyRing) -> None:
    await ring._fetches.settle()


async def test_projected_token_of_kubernetes(oidc: Oidc) -> None:
    """A service account is a principal, with its namespace and name for grants to match, until its token ends."""
    principal = await oidc.verifier.verify(token())
    assert principal.name == f"oidc:{ISSUER}#{SUBJECT}"
    assert principal.evidence is Evidence.OIDC
    assert principal.roles == frozenset()
    assert dict(principal.attributes) == {"namespace": "ml", "service-account": "trainer"}
    assert principal.expires == NOW + 3600 + 30


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "ES384", "EdDSA"])
async def test_every_allowed_algorithm_works(algorithm: str) -> None:
    """Each algorithm that can be configured verifies what it should."""
    oidc, signer = Oidc(algorithms=(algorithm,)), Signer(algorithm=algorithm)
    oidc.source.show(signer)
    assert (await oidc.verifier.verify(token(signer))).name.endswith(SUBJECT)


async def test_role_comes_with_the_principal() -> None:
    """A person of an issuer is an admin where the settings say so, and others are not."""
    roles = RoleBindings([(Role.ADMIN, [Pattern(f"oidc:{ISSUER}#alice", "x")])])
    oidc = Oidc(roles=roles)
    assert (await oidc.verifier.verify(token(sub="alice"))).roles == {Role.ADMIN}
    assert (await oidc.verifier.verify(token(sub="alice2"))).roles == frozenset()


@pytest.mark.parametrize(
    ("audience", "good"),
    [
        (AUDIENCE, True),
        ([AUDIENCE], True),
        (["other", AUDIENCE], True),
        (None, False),
        ("", False),
        ([], False),
        ("other", False),
        (AUDIENCE + "/", False),
        (AUDIENCE.upper(), False),
        (["other", AUDIENCE + "2"], False),
        ([[AUDIENCE]], False),
        ({AUDIENCE: 1}, False),
        (1, False),
    ],
)
async def test_audience(oidc: Oidc, audience: Any, good: bool) -> None:
    """Only a token made for this broker is taken: one for another service, stolen there, is not."""
    if good:
        await oidc.verifier.verify(token(aud=audience))
    else:
        assert await problem(oidc.verifier.verify(token(aud=audience))) == ("CREDENTIALS_INVALID", "audience")


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), ISSUER[:-1], "", 1, [ISSUER], {}])
async def test_issuer_is_exact(oidc: Oidc, issuer: Any) -> None:
    """An issuer with a slash more, or in other letters, is another issuer."""
    assert await problem(oidc.verifier.verify(token(iss=issuer))) == ("CREDENTIALS_INVALID", "issuer")
    assert oidc.source.fetches == 0


async def test_issuer_configured_with_a_slash() -> None:
    """Nor is a slash taken away: the configured text counts."""
    oidc = Oidc(issuer=f"{ISSUER}/")
    assert await problem(oidc.verifier.verify(token())) == ("CREDENTIALS_INVALID", "issuer")
    assert (await oidc.verifier.verify(token(iss=f"{ISSUER}/"))).name == f"oidc:{ISSUER}/#{SUBJECT}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"exp": NOW - 29}, ""),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": NOW - 86400}, "expired"),
        ({"exp": None}, "expiry"),
        ({"exp": str(int(NOW + 3600))}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": -1}, "malformed"),
        ({"exp": 10**400}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"nbf": NOW + 30}, ""),
        ({"nbf": NOW + 31}, "not-yet-valid"),
        ({"nbf": "soon"}, "malformed"),
        ({"iat": NOW + 30}, ""),
        ({"iat": NOW + 31}, "issued-later"),
        ({"iat": NOW + 10**9}, "issued-later"),
        ({"iat": []}, "malformed"),
        ({"iat": None, "nbf": None}, ""),
    ],
)
async def test_times(oidc: Oidc, change: dict[str, Any], expected: str) -> None:
    """A token counts between its times, give or take the stated leeway, and times that are none are refused."""
    full = {**claims(NOW), **change}
    presented = mint({name: value for name, value in full.items() if value is not None})
    if not expected:
        await oidc.verifier.verify(presented)
        return
    reason, found = await problem(oidc.verifier.verify(presented))
    assert (reason, found) == (
        ("CREDENTIALS_EXPIRED", "") if expected == "expired" else ("CREDENTIALS_INVALID", expected)
    )


async def test_null_is_not_a_time(oidc: Oidc) -> None:
    """A claim that is there but null is malformed, not missing."""
    presented = mint({**claims(NOW), "nbf": None})
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "malformed")


@pytest.mark.parametrize(("change", "good"), [({}, True), ({"exp": NOW + 3601}, False), ({"iat": None}, False)])
async def test_longest_life(change: dict[str, Any], good: bool) -> None:
    """Where the operator wants short tokens, long ones and those that hide their age are refused."""
    verifying = Oidc(max_lifetime_seconds=3600.0).verifier.verify(token(**change))
    if good:
        await verifying
    else:
        assert await problem(verifying) == ("CREDENTIALS_INVALID", "lifetime")


@pytest.mark.parametrize(
    "subject",
    [
        "repo:ours/models:ref:refs/heads/main",
        "repo:ours@12/models@34:ref:refs/heads/main",
        "repo:ours@12/models@34:environment:Prod East",
        "repo:ours/models:environment:a%3Ab",
        "repository_owner_id:12:repository_id:34:environment:prod",
    ],
)
async def test_subjects_of_github(oidc: Oidc, subject: str) -> None:
    """Repositories made after 2026-07-15 have ids in their subjects, and environments may have blanks in their names: a
    token with such a subject makes a principal, and a grant can name it, as it is and by a pattern.
    """
    caller = await oidc.verifier.verify(token(sub=subject))
    assert caller.name == f"oidc:{ISSUER}#{subject}"
    head, _, last = caller.name.rpartition(":")
    for text in (caller.name, f"{head}:{last[0]}*"):
        assert principal_pattern(text, "principals").matches(caller.name) or "/" in last
    assert check_principal("principal", caller.name) == caller.name


@pytest.mark.parametrize(
    "subject", [None, "", " ", "a ", " a", "a\nb", "é", "a*", "x" * 256, 7, ["a"], "\u202etrainer"]
)
async def test_subject_is_plain(oidc: Oidc, subject: Any) -> None:
    """A subject that could not be shown, or would be a pattern in a grant, makes no principal."""
    assert await problem(oidc.verifier.verify(token(sub=subject))) == ("CREDENTIALS_INVALID", "subject")


@given(
    st.tuples(st.sampled_from(["https://a", "https://a/b", "https://a:b"]), st.text("ab#:/", min_size=1, max_size=8)),
    st.tuples(st.sampled_from(["https://a", "https://a/b", "https://a:b"]), st.text("ab#:/", min_size=1, max_size=8)),
)
def test_no_two_callers_share_a_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    """A subject that holds the separator, or looks like an issuer, cannot pass for somebody else."""
    rules = ClaimRules(AUDIENCE)
    names = []
    for issuer, subject in (one, other):
        read = check_claims(claims(NOW, iss=issuer, sub=subject), rules, NOW)
        names.append(f"oidc:{issuer}#{read.subject}")
        assert names[-1].removeprefix("oidc:").split("#", 1) == [issuer, subject]
    assert (names[0] == names[1]) is (one == other)


@pytest.mark.parametrize(
    "claim", [None, "flat", [], {"namespace": 7}, {"namespace": ["ml"]}, {"namespace": ""}, {"namespace": "a\nb"}]
)
async def test_attribute_that_is_no_plain_text_is_left_out(oidc: Oidc, claim: Any) -> None:
    """A grant that asks for a namespace must not match a token that has none, or a strange one."""
    principal = await oidc.verifier.verify(token(**{"kubernetes.io": claim}))
    assert "namespace" not in principal.attributes


async def test_verified_token_is_remembered_until_it_ends(oidc: Oidc) -> None:
    """The second call costs no signature check; a replay after the end is refused."""
    presented = token()
    first = await oidc.verifier.verify(presented)
    assert await oidc.verifier.verify(presented) is first
    oidc.clock.now = NOW + 3600 + 29.9
    assert (await oidc.verifier.verify(presented)).name == first.name
    oidc.clock.now = NOW + 3600 + 30
    error = await refusal(oidc.verifier.verify(presented))
    assert error.reason.name == "CREDENTIALS_EXPIRED"
    assert error.metadata == {"expired_at": "2027-01-15T09:00:00+00:00", "evidence": "jwt"}


async def test_remembered_tokens_are_bounded(oidc: Oidc) -> None:
    """However many tokens come, memory does not grow with them."""
    oidc.verifier._verified = LRUCache(5)
    for number in range(20):
        await oidc.verifier.verify(token(sub=f"s{number}"))
    assert len(oidc.verifier._verified) == 5


async def test_remembered_token_goes_with_its_key(oidc: Oidc) -> None:
    """A key that the issuer took back takes the tokens signed with it along, also those verified before."""
    presented = token()
    await oidc.verifier.verify(presented)
    oidc.source.show(Signer("two", which=2))
    oidc.clock.now = NOW + 301
    await oidc.verifier.verify(presented)  # Old keys are still believed while new ones are fetched.
    await settled(oidc.ring)
    assert await problem(oidc.verifier.verify(presented)) == ("CREDENTIALS_INVALID", "key")


@given(st.binary(max_size=60), st.binary(max_size=60))
async def test_no_payload_breaks_the_verifier(header: bytes, payload: bytes) -> None:
    """Whatever bytes come in the form of a token, the answer is a refusal."""
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, b"s"))
    with pytest.raises(BrokerError):
        await Oidc().verifier.verify(".".join(parts))
