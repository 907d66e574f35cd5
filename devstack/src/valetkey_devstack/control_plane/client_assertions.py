"""What an application proves itself with instead of a secret: a signed statement, checked as Entra checks it.

Source: https://learn.microsoft.com/entra/identity-platform/certificate-credentials and
https://learn.microsoft.com/entra/workload-id/workload-identity-federation
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from valetkey_devstack.control_plane.entra_error import EntraError

_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS = ["PS256", "RS256"]


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """Whose tokens the application's may be proved with: those that `issuer` signs with `key` for one subject.

    Entra finds the key by the issuer's own documents; here it is given.
    """

    issuer: str
    subject: str
    key: RSAPublicKey
    audience: str = "api://AzureADTokenExchange"


class ClientAssertions:
    """The certificates and federated credentials of one application."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._certificates: dict[str, x509.Certificate] = {}
        self._federated: list[FederatedCredential] = []

    def add_certificate(self, certificate: x509.Certificate) -> None:
        """Adds a certificate with an RSA key, as uploaded to the application."""
        # Known by either thumbprint: SHA-1 in older assertions (x5t), SHA-256 in those of today.
        for name, algorithm in (("x5t", hashes.SHA1()), ("x5t#S256", hashes.SHA256())):  # noqa: S303 (a name, as in RFC 7515)
            self._certificates[f"{name}={_thumbprint(certificate, algorithm)}"] = certificate

    def remove_certificate(self, certificate: x509.Certificate) -> None:
        """Removes a certificate."""
        self._certificates = {name: kept for name, kept in self._certificates.items() if kept != certificate}

    def add_federated(self, credential: FederatedCredential) -> None:
        """Adds a federated credential."""
        self._federated.append(credential)

    def check(self, form: Mapping[str, str], token_url: str) -> None:
        """Checks the assertion in a request to `token_url`. Raises EntraError as Entra would."""
        if form.get("client_assertion_type") != _TYPE:
            raise EntraError(401, "invalid_client", 50027, "The client_assertion_type is not supported.")
        assertion = form["client_assertion"]
        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise EntraError(401, "invalid_client", 50027, "JWT token is invalid or malformed.") from None
        if claims.get("iss") == self._client_id:
            self._check_certificate(assertion, header, token_url)
        else:
            self._check_federated(assertion, claims)

    def _check_certificate(self, assertion: str, header: Mapping[str, Any], token_url: str) -> None:
        names = [f"{name}={str(header[name]).rstrip('=')}" for name in ("x5t#S256", "x5t") if name in header]
        certificate = next((self._certificates[name] for name in names if name in self._certificates), None)
        if certificate is None:
            raise _not_registered("The key was not found.")
        if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
            text = "The provided certificate is not within its specified validity window."
            raise EntraError(401, "invalid_client", 1000502, text)
        claims = self._verified(assertion, certificate.public_key(), token_url, self._client_id)
        if claims.get("sub") != self._client_id:
            text = "Client assertion application identifier doesn't match 'client_id' parameter."
            raise EntraError(401, "invalid_client", 700021, text)

    def _check_federated(self, assertion: str, claims: Mapping[str, Any]) -> None:
        known = self._federated
        for name, attribute, code in (
            ("iss", "issuer", 700211),
            ("sub", "subject", 700213),
            ("aud", "audience", 700212),
        ):
            known = [each for each in known if getattr(each, attribute) == claims.get(name)]
            if not known:
                text = f"No matching federated identity record found for presented assertion {attribute}."
                raise EntraError(401, "invalid_client", code, text)
        self._verified(assertion, known[0].key, known[0].audience, known[0].issuer)

    @staticmethod
    def _verified(assertion: str, key: Any, audience: str, issuer: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                assertion,
                key,
                algorithms=_ALGORITHMS,
                audience=audience,
                issuer=issuer,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
            text = "Client assertion is not within its valid time range."
            raise EntraError(401, "invalid_client", 700024, text) from None
        except jwt.InvalidAudienceError:
            text = "Client assertion audience claim does not match Realm issuer."
            raise EntraError(401, "invalid_client", 700023, text) from None
        except jwt.InvalidTokenError:
            raise _not_registered("The key was found, but use of the key to verify the signature failed.") from None


def _not_registered(reason: str) -> EntraError:
    text = (
        "The certificate with identifier used to sign the client assertion is not registered on application. "
        f"[Reason - {reason}]"
    )
    return EntraError(401, "invalid_client", 700027, text)


def _thumbprint(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> str:
    return base64.urlsafe_b64encode(certificate.fingerprint(algorithm)).decode("ascii").rstrip("=")
