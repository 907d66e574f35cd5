"""Which evidence counts: one kind, recognised by its form, decided by one verifier."""

import hashlib
import inspect
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.core import NOW, no_news
from support.oidc import ISSUER, SUBJECT, Signer, claims, mint
from support.oidc_verifier import Oidc
from support.refusals import problem, refusal
from support.spiffe import DOMAIN, WORKLOAD, SpiffeCa
from valetkey_broker.authn import api_key_verifier
from valetkey_broker.authn.api_key_verifier import ApiKeyVerifier
from valetkey_broker.authn.authenticator import CompositeAuthenticator
from valetkey_broker.authn.mtls import MtlsVerifier
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.model import ApiKey, Evidence, Pattern, Principal, Role
from valetkey_broker.ports import CallerEvidence
from valetkey_broker.state.memory import Memory

KEY = "vk_" + "K" * 43


def admitted(key: str = KEY, name: str = "trainer", uid: str = "1", *, expires: float = NOW + 60) -> ApiKey:
    """Returns an API key as the broker knows it."""
    return ApiKey(
        name=name,
        uid=uid,
        digest=hashlib.sha256(key.encode()).digest(),
        roles=frozenset({Role.VIEWER}),
        expires_at=datetime.fromtimestamp(expires, UTC),
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:admin",
    )


class Callers:
    """All three verifiers."""

    def __init__(self, directory: Path, roles: RoleBindings | None = None) -> None:
        self.oidc = Oidc()
        self.clock = self.oidc.clock
        self.memory = Memory()
        self.memory.put_api_key(admitted())
        self.ca_file = directory / "ca.pem"
        self.ca = SpiffeCa(now=datetime.fromtimestamp(NOW, UTC))
        self.ca_file.write_bytes(self.ca.pem)
        roles = roles or RoleBindings()
        self.trust = TrustBundles({DOMAIN: self.ca_file})
        self.keys = ApiKeyVerifier(self.memory, self.clock, roles)
        self.authenticator = CompositeAuthenticator(
            self.keys, self.oidc.verifier, MtlsVerifier(self.trust, roles, self.clock), self.clock, no_news
        )
        self.chain = self.ca.issue(now=datetime.fromtimestamp(NOW, UTC)).chain
        self.token = mint(claims(NOW))

    def standing(self, principal: Principal) -> str:
        """Returns what the authenticator says of a principal it made."""
        return self.authenticator.standing(principal).value


def evidence(*authorization: str | bytes, certificate: bytes | None = None) -> CallerEvidence:
    return CallerEvidence(authorization, certificate, "127.0.0.1")


@pytest.fixture
async def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path)


async def test_each_kind_of_evidence(callers: Callers) -> None:
    """A key, a token and a certificate each make the principal of their kind."""
    authenticate = callers.authenticator.authenticate
    made = [
        await authenticate(evidence(f"Bearer {KEY}")),
        await authenticate(evidence(f"Bearer {callers.token}")),
        await authenticate(evidence(certificate=callers.chain)),
    ]
    assert [each.name for each in made] == ["key:trainer", f"oidc:{ISSUER}#{SUBJECT}", WORKLOAD]
    assert [each.evidence for each in made] == [Evidence.API_KEY, Evidence.OIDC, Evidence.MTLS]
    assert [callers.standing(each) for each in made] == ["good", "good", "good"]
    callers.clock.now = NOW + 60
    assert [callers.standing(each) for each in made] == ["ended", "good", "good"]
    callers.clock.now = NOW + 3600
    await authenticate(evidence(f"Bearer {callers.token}"))
    assert [callers.standing(each) for each in made] == ["ended", "good", "ended"]


async def test_what_streams_are_told_of(callers: Callers) -> None:
    """Other keys of an issuer and other CAs are news to streams; that time went by is not."""
    authenticate = callers.authenticator.authenticate
    await authenticate(evidence(f"Bearer {callers.token}"))
    seen = [callers.authenticator.vouchers()]
    callers.clock.now += 10
    assert callers.authenticator.vouchers() == seen[0]
    callers.ca_file.write_bytes(SpiffeCa().pem)
    callers.trust._bundle._checked_at = 0.0
    seen.append(callers.authenticator.vouchers())
    callers.oidc.source.show(Signer("two", which=2))
    await refusal(authenticate(evidence(f"Bearer {mint(claims(NOW), Signer('three', which=3))}")))
    seen.append(callers.authenticator.vouchers())
    assert seen[0] != seen[1] != seen[2] == callers.authenticator.vouchers()


async def test_header_wins_over_certificate(callers: Callers) -> None:
    """What a caller says on purpose counts; a wrong header is refused and not made up for by the certificate."""
    authenticate = callers.authenticator.authenticate
    assert (await authenticate(evidence(f"Bearer {KEY}", certificate=callers.chain))).name == "key:trainer"
    for header in ("Bearer vk_wrong", "Bearer a.b.c", "", "Basic x"):
        error = await refusal(authenticate(evidence(header, certificate=callers.chain)))
        assert error.reason.name == "CREDENTIALS_INVALID"


@pytest.mark.parametrize(
    "headers",
    [
        ("Bearer a", "Bearer b"),
        (f"Bearer {KEY}", f"Bearer {KEY}"),
        (f"Bearer {KEY}", ""),
        (f"bearer  {KEY}",),
        (f"bearer\t{KEY}",),
        (f"Bearer{KEY}",),
        (f"Bearer  {KEY}",),
        (f"Bearer {KEY} ",),
        (f"Bearer {KEY},Bearer {KEY}",),
        (KEY,),
        (f"Bearer {KEY}".encode(),),
        ("Bearer ",),
        ("Bearer a.b",),
        ("Bearer a.b.c.d.e",),
        ("Bearer a.b.c=",),
        ("Bearer é.b.c",),
        ("Bearer spiffe://example.org/admin",),
        ("Bearer key:admin",),
    ],
)
async def test_headers_that_are_not_one_known_form(callers: Callers, headers: tuple[str | bytes, ...]) -> None:
    """Two headers, odd spellings and unknown evidence are refused: nobody is let in by accident."""
    error = await refusal(callers.authenticator.authenticate(evidence(*headers)))
    assert error.reason.name == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "beArer"])
async def test_the_scheme_is_read_in_any_case(callers: Callers, scheme: str) -> None:
    """RFC 9110, section 11.1: a client that writes it small is no stranger."""
    assert (await callers.authenticator.authenticate(evidence(f"{scheme} {KEY}"))).name == "key:trainer"


async def test_missing_credentials_name_what_would_do(callers: Callers) -> None:
    """A caller without anything is told what this broker takes."""
    error = await refusal(callers.authenticator.authenticate(evidence()))
    assert error.reason.name == "CREDENTIALS_MISSING"
    assert "authorization: Bearer" in error.message
    assert "JWT" in error.message
    assert "client certificate" in error.message


async def test_evidence_nobody_is_set_up_for(callers: Callers) -> None:
    """Without issuers a token is refused, without trust domains a certificate counts for nothing."""
    authenticator = CompositeAuthenticator(callers.keys, None, None, callers.clock, no_news)
    assert (await problem(authenticator.authenticate(evidence(f"Bearer {callers.token}"))))[0] == "CREDENTIALS_INVALID"
    assert (await problem(authenticator.authenticate(evidence(certificate=callers.chain))))[0] == "CREDENTIALS_MISSING"
    await authenticator.close()


async def test_revoked_key_ends_what_it_began(callers: Callers) -> None:
    """A stream of a revoked key is over, also when a new key takes the name; a mere re-reading changes nothing."""
    principal = await callers.authenticator.authenticate(evidence(f"Bearer {KEY}"))
    callers.memory.put_api_key(admitted())
    assert callers.standing(principal) == "good"
    callers.memory.drop_api_key("trainer")
    assert callers.standing(principal) == "ended"
    callers.memory.put_api_key(admitted("vk_" + "N" * 43, uid="2"))
    assert callers.standing(principal) == "ended"
    assert (await problem(callers.authenticator.authenticate(evidence(f"Bearer {KEY}"))))[0] == "CREDENTIALS_INVALID"


async def test_withdrawn_signing_key_ends_what_it_began(callers: Callers) -> None:
    """A stream ends when the issuer stops showing the key of its token; another caller's goes on."""
    other = Signer("two", which=2)
    callers.oidc.source.show(Signer(), other)
    authenticate = callers.authenticator.authenticate
    ended = await authenticate(evidence(f"Bearer {callers.token}"))
    stays = await authenticate(evidence(f"Bearer {mint(claims(NOW), other)}"))
    callers.oidc.source.show(other)
    callers.clock.now += 300
    assert callers.standing(ended) == "good"  # That was the look which has the keys renewed.
    await callers.oidc.ring._refresh()
    assert [callers.standing(each) for each in (ended, stays)] == ["ended", "good"]


async def test_issuer_away_for_too_long(callers: Callers) -> None:
    """Of its callers nothing can be told then, which is no revocation; with the issuer back there is an answer."""
    made = await callers.authenticator.authenticate(evidence(f"Bearer {mint(claims(NOW, exp=NOW + 36_000))}"))
    callers.oidc.source.fail = True
    callers.clock.now = NOW + 3599
    assert callers.standing(made) == "good"
    await callers.oidc.ring._refresh()
    callers.clock.now = NOW + 3600
    assert callers.standing(made) == "unknown"
    callers.oidc.source.fail = False
    callers.clock.now += 10
    await callers.oidc.ring._refresh()
    assert callers.standing(made) == "good"
    callers.oidc.source.show(Signer("two", which=2))
    callers.clock.now += 300
    await callers.oidc.ring._refresh()
    assert callers.standing(made) == "ended"
    callers.oidc.source.fail = True
    callers.clock.now = made.expires
    assert callers.standing(made) == "ended"


async def test_withdrawn_ca_ends_what_it_began(callers: Callers) -> None:
    """A stream ends when the CA above its certificate is taken out of the bundle, and not for a CA that comes."""
    principal = await callers.authenticator.authenticate(evidence(certificate=callers.chain))
    new = SpiffeCa(now=datetime.fromtimestamp(NOW, UTC))
    for bundle, expected in ((callers.ca.pem + new.pem, "good"), (new.pem, "ended")):
        callers.ca_file.write_bytes(bundle)
        callers.trust._bundle._checked_at = 0.0
        assert callers.standing(principal) == expected


async def test_principals_that_no_verifier_made(callers: Callers) -> None:
    """Nobody is believed on the strength of a kind of evidence alone."""
    for kind in Evidence:
        assert callers.standing(Principal("key:trainer", frozenset(), kind, NOW + 60)) == "ended"


async def test_changed_key_counts_at_once(callers: Callers) -> None:
    """What is remembered of a key never outlives a change to it."""
    await callers.authenticator.authenticate(evidence(f"Bearer {KEY}"))
    callers.memory.put_api_key(admitted(expires=NOW + 7200))
    principal = await callers.authenticator.authenticate(evidence(f"Bearer {KEY}"))
    assert principal.expires == NOW + 7200


async def test_roles_bound_to_keys(tmp_path: Path) -> None:
    """Bound roles come on top of a key's own; a pattern stays inside its segment."""
    roles = RoleBindings([(Role.AUDITOR, [Pattern("key:tr*", "x")]), (Role.ADMIN, [Pattern("key:other", "x")])])
    callers = Callers(tmp_path, roles)
    principal = await callers.authenticator.authenticate(evidence(f"Bearer {KEY}"))
    assert principal.roles == {Role.VIEWER, Role.AUDITOR}
    assert RoleBindings([(Role.ADMIN, [Pattern("oidc:https://a/*", "x")])]).of("oidc:https://a/b/c#d") == frozenset()


async def test_lookup_compares_digests_only() -> None:
    """How much of a wrong key is right cannot be timed: nothing of a key is compared, its SHA-256 is looked up."""
    asked: list[object] = []

    class Watched(dict[bytes, object]):
        def get(self, key: object, default: object = None) -> object:  # type: ignore[override]
            asked.append(key)
            return super().get(key, default)  # type: ignore[arg-type]

    memory = Memory()
    memory.put_api_key(admitted())
    memory.keys_by_digest = Watched(memory.keys_by_digest)  # type: ignore[assignment]
    verifier = ApiKeyVerifier(memory, lambda: NOW, RoleBindings())
    for wrong in (KEY[:-1] + "L", "vk_" + "L" + KEY[4:]):
        with pytest.raises(Exception, match="unknown or revoked"):
            verifier.verify(wrong)
        assert asked.pop() == hashlib.sha256(wrong.encode()).digest()
    assert "reveal" not in inspect.getsource(api_key_verifier)
