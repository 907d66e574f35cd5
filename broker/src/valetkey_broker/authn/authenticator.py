"""Decides which verifier looks at a call's evidence, and builds them all from the settings."""

from collections.abc import Awaitable, Callable, Sequence

from valetkey_broker.authn.api_key_verifier import PREFIX, ApiKeyVerifier
from valetkey_broker.authn.claims import ClaimRules
from valetkey_broker.authn.issuer_keys import KeyRing
from valetkey_broker.authn.mtls import MtlsVerifier
from valetkey_broker.authn.oidc import Issuer, OidcVerifier
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import BrokerError, Reason, credentials_invalid, credentials_missing
from valetkey_broker.model import Evidence, Pattern, Principal, Standing, api_key_digest
from valetkey_broker.ports import CallerEvidence, Clock, KeySource
from valetkey_broker.settings import AuthnSettings, OidcSettings
from valetkey_broker.state.memory import Memory

# In any case of letters: RFC 9110, section 11.1.
_SCHEME = "bearer "
_FILE_SECONDS = 2.0


class CompositeAuthenticator:
    """The first verifier that recognises its kind of evidence decides; there is no second try with another.

    An authorization header wins over a client certificate: what a caller says on purpose counts, and a wrong header
    is refused rather than passed over.
    """

    def __init__(
        self,
        api_keys: ApiKeyVerifier,
        oidc: OidcVerifier | None,
        mtls: MtlsVerifier | None,
        clock: Clock,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        """`catch_up` has memory learn of keys that were made a moment ago."""
        self._catch_up = catch_up
        self._api_keys = api_keys
        self._oidc = oidc
        self._mtls = mtls
        self._clock = clock

    async def authenticate(self, evidence: CallerEvidence) -> Principal:
        """Returns the principal; see ports.Authenticator."""
        if evidence.authorization:
            presented = _bearer(evidence.authorization)
            if presented.startswith(PREFIX):
                return await self._by_api_key(presented)
            if self._oidc is not None and self._oidc.recognises(presented):
                return await self._oidc.verify(presented)
            raise credentials_invalid(
                "the authorization header holds neither an API key nor a token that this broker is set up for; "
                "expected 'Bearer' with a space and behind it an API key"
                + (" or a JWT" if self._oidc is not None else "")
            )
        if evidence.certificate is not None and self._mtls is not None:
            return self._mtls.verify(evidence.certificate)
        raise credentials_missing(self._wanted())

    async def _by_api_key(self, presented: str) -> Principal:
        try:
            return self._api_keys.verify(presented)
        except BrokerError as error:
            if error.reason is not Reason.CREDENTIALS_INVALID or api_key_digest(presented) is None:
                raise
        # Another replica may have made it, or given it this secret, since the last poll.
        await self._catch_up()
        return self._api_keys.verify(presented)

    def standing(self, principal: Principal) -> Standing:
        """Tells whether `principal` could authenticate again now; see ports.Authenticator.

        Its API key, its token's signing key, or the CA of its certificate has to count still.
        """
        if principal.expires <= self._clock():
            return Standing.ENDED
        if principal.evidence is Evidence.OIDC:
            return self._oidc.standing(principal) if self._oidc is not None else Standing.ENDED
        verifier = self._api_keys if principal.evidence is Evidence.API_KEY else self._mtls
        good = verifier is not None and verifier.still_valid(principal)
        return Standing.GOOD if good else Standing.ENDED

    def refreshed(self, principal: Principal) -> Principal:
        """Returns a principal with the end that it has by now: that of a key which was rotated came nearer."""
        return self._api_keys.refreshed(principal) if principal.evidence is Evidence.API_KEY else principal

    def vouchers(self) -> object:
        """Returns what callers' standing stands on besides documents and the time; something else where it changed."""
        return (
            self._oidc.vouchers() if self._oidc is not None else None,
            self._mtls.vouchers() if self._mtls is not None else None,
        )

    async def close(self) -> None:
        """Ends what is under way."""
        if self._oidc is not None:
            await self._oidc.close()

    def _wanted(self) -> str:
        also = ["a JWT of a configured issuer in its place"] if self._oidc is not None else []
        if self._mtls is not None:
            also.append("a client certificate on the port for these")
        tail = f"; or {', or '.join(also)}" if also else ""
        return f"no API key given; send the metadata 'authorization: Bearer' with a space and the key behind it{tail}"


def build_role_bindings(settings: AuthnSettings) -> RoleBindings:
    """Returns the roles that the settings give."""
    return RoleBindings(
        [(each.role, [Pattern(text, "principals") for text in each.principals]) for each in settings.roles]
    )


def build_authenticator(
    settings: AuthnSettings,
    memory: Memory,
    clock: Clock,
    *,
    key_source: Callable[[OidcSettings], KeySource],
    trust: TrustBundles | None,
    catch_up: Callable[[], Awaitable[None]],
) -> CompositeAuthenticator:
    """Builds every verifier that the settings ask for.

    `trust` is needed with `authn.mtls`; `catch_up` is that of CompositeAuthenticator.
    """
    roles = build_role_bindings(settings)
    issuers = [_issuer(each, key_source(each)) for each in settings.oidc]
    return CompositeAuthenticator(
        ApiKeyVerifier(memory, clock, roles),
        OidcVerifier(issuers, roles, clock) if issuers else None,
        MtlsVerifier(trust, roles, clock) if trust is not None else None,
        clock,
        catch_up,
    )


def _issuer(settings: OidcSettings, source: KeySource) -> Issuer:
    refresh, least = settings.refresh_seconds, settings.min_refresh_seconds
    if settings.jwks_file is not None:
        # A file costs little to ask: what is changed there counts soon, as with every other file.
        refresh, least = min(refresh, _FILE_SECONDS), min(least, _FILE_SECONDS)
    return Issuer(
        name=settings.issuer,
        algorithms=frozenset(settings.algorithms),
        rules=ClaimRules(
            audience=settings.audience,
            leeway_seconds=settings.leeway_seconds,
            max_lifetime_seconds=settings.max_lifetime_seconds,
            attributes=settings.attributes,
        ),
        keys=KeyRing(
            settings.issuer,
            source,
            refresh_seconds=refresh,
            min_refresh_seconds=least,
            max_stale_seconds=settings.max_stale_seconds,
        ),
    )


def _bearer(headers: Sequence[str | bytes]) -> str:
    header = headers[0]
    if len(headers) > 1 or not isinstance(header, str) or header[: len(_SCHEME)].lower() != _SCHEME:
        raise credentials_invalid(
            "malformed authorization; expected exactly one header, 'Bearer' with a space and the evidence behind it"
        )
    return header[len(_SCHEME) :]
