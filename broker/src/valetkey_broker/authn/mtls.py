"""Authenticates callers by client certificates that carry a SPIFFE id.

Source of the rules: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md, sections 2 to 5.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cachetools import LRUCache
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.authn.trust_bundles import Bundle, TrustBundles
from valetkey_broker.errors import BrokerError, credentials_expired, credentials_invalid
from valetkey_broker.model import Evidence, InvalidFieldError, Principal
from valetkey_broker.model.spiffe import SpiffeId, parse_spiffe_id
from valetkey_broker.ports import Clock

_MOST_CERTIFICATES = 10_000
_LONGEST_CHAIN = 10
# What the library will not read, it says by errors that have nothing in common.
_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class MtlsPrincipal(Principal):
    """A principal that keeps its certificates, to be verified again when the CAs change; grants see none of them."""

    chain: bytes = field(kw_only=True, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    begins: float
    bundle: Bundle


class MtlsVerifier:
    """Verifies each chain once for each state of the CAs; its time is looked at on every call.

    TLS has verified the chain and that the peer holds its key, against all CAs together. Here the chain is verified
    against the CAs of the very trust domain it claims: the CA of one domain has no say in another.
    """

    def __init__(self, trust: TrustBundles, roles: RoleBindings, clock: Clock) -> None:
        self._trust = trust
        self._roles = roles
        self._clock = clock
        self._verified: LRUCache[bytes, _Verified] = LRUCache(_MOST_CERTIFICATES)

    def verify(self, chain: bytes) -> Principal:
        """Returns the principal `spiffe://…` of a chain (PEM, leaf first). Raises CREDENTIALS_INVALID or …EXPIRED."""
        digest = hashlib.sha256(chain).digest()
        bundle, now = self._trust.current(), self._clock()
        known = self._verified.get(digest)
        if known is None or known.bundle is not bundle:
            known = self._verify(chain, bundle, now)
            self._verified[digest] = known
        if known.principal.expires <= now:
            self._verified.pop(digest, None)
            raise _expired(known.principal.expires)
        if known.begins > now:
            raise _not_yet()
        return known.principal

    def still_valid(self, principal: Principal) -> bool:
        """Tells whether the certificates that made `principal` would do so now, with the CAs as they are."""
        if not isinstance(principal, MtlsPrincipal):
            return False
        try:
            self.verify(principal.chain)
        except BrokerError:
            return False
        return True

    def vouchers(self) -> object:
        """Returns the CAs; something else where `still_valid` may have changed other than by time."""
        return self._trust.current()

    def _verify(self, chain: bytes, bundle: Bundle, now: float) -> _Verified:
        try:
            leaf, *others = x509.load_pem_x509_certificates(chain)
            identity = _identity(leaf)
        except _UNREADABLE:
            raise credentials_invalid(
                "the client certificate cannot be read", evidence="certificate", problem="malformed"
            ) from None
        store = bundle.stores.get(identity.trust_domain)
        if store is None:
            raise credentials_invalid(
                "the certificate's trust domain is not one this broker knows",
                evidence="certificate",
                problem="trust-domain",
            )
        if leaf.not_valid_after_utc.timestamp() <= now:
            raise _expired(leaf.not_valid_after_utc.timestamp())
        if leaf.not_valid_before_utc.timestamp() > now:
            raise _not_yet()
        path = _verified_path(leaf, others[:_LONGEST_CHAIN], store, now)
        name = str(identity)
        principal = MtlsPrincipal(
            name=name,
            roles=self._roles.of(name),
            evidence=Evidence.MTLS,
            # A chain is as good as its shortest-lived part.
            expires=min(each.not_valid_after_utc.timestamp() for each in path),
            chain=chain,
        )
        return _Verified(principal, max(each.not_valid_before_utc.timestamp() for each in path), bundle)


def _identity(leaf: x509.Certificate) -> SpiffeId:
    """Returns the id in a leaf certificate. Raises CREDENTIALS_INVALID, and ValueError where it cannot be read."""
    extensions = leaf.extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise credentials_invalid(
            "the certificate needs a subjectAltName, a key usage and an extended key usage",
            evidence="certificate",
            problem="extensions",
        ) from None
    if _is_ca(extensions) or usage.key_cert_sign or usage.crl_sign or not usage.digital_signature:
        raise credentials_invalid(
            "the certificate is a CA's; expected a workload's", evidence="certificate", problem="key-usage"
        )
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise credentials_invalid(
            "the certificate is not made for clients; expected clientAuth", evidence="certificate", problem="key-usage"
        )
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise credentials_invalid(
            "the certificate needs exactly one URI name, its SPIFFE id", evidence="certificate", problem="san"
        )
    try:
        return parse_spiffe_id(uris[0])
    except InvalidFieldError:
        raise credentials_invalid(
            "the certificate's URI name is not a SPIFFE id", evidence="certificate", problem="san"
        ) from None


def _is_ca(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _verified_path(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], store: Store, now: float
) -> Sequence[x509.Certificate]:
    # The leaf's own extensions were checked by SPIFFE's rules, which are not those of websites.
    policies = {"ca_policy": ExtensionPolicy.webpki_defaults_ca(), "ee_policy": ExtensionPolicy.permit_all()}
    verifier = (
        PolicyBuilder()
        .store(store)
        .time(datetime.fromtimestamp(now, UTC))
        .extension_policies(**policies)
        .build_client_verifier()
    )
    try:
        return verifier.verify(leaf, list(others)).chain
    except VerificationError:
        raise credentials_invalid(
            "no CA of the certificate's trust domain vouches for it; check its chain",
            evidence="certificate",
            problem="chain",
        ) from None


def _expired(at: float) -> Exception:
    return credentials_expired("certificate", at, "get a new one from its CA", evidence="certificate")


def _not_yet() -> Exception:
    return credentials_invalid(
        "the certificate is not valid yet; check the clocks", evidence="certificate", problem="not-yet-valid"
    )
