"""Entra's v2.0 token endpoint for one tenant: client credentials of one application, by secret or assertion.

How people log in is in `log_ins`.

Source: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

import json
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from valetkey_broker.model import Secret
from valetkey_devstack.control_plane.client_assertions import ClientAssertions
from valetkey_devstack.control_plane.client_secrets import Passwords
from valetkey_devstack.control_plane.entra_error import EntraError
from valetkey_devstack.control_plane.log_ins import GRANT_TYPES, LogIns

STORAGE_AUDIENCE = "https://storage.azure.com"
_LIFETIME = 3599
_KEY_ID = "valetkey-stand-in"


# What is answered for a planned failure without a body of its own.
PLANNED = {
    401: EntraError(401, "invalid_client", 7000215, "Invalid client secret provided."),
    429: EntraError(429, "temporarily_unavailable", 90055, "There are too many incoming requests."),
    503: EntraError(503, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."),
}


class Entra:
    """Issues tokens to one service principal and checks them.

    `roles` are the application permissions that it was granted, by audience: a token has those of the time it was made.
    `ahead` is how many seconds Entra's clock is before this machine's.
    """

    def __init__(self, tenant_id: str, client_id: str, client_secret: Secret) -> None:
        self.tenant_id = tenant_id
        self.client_id = client_id
        self.token_seconds = _LIFETIME
        self.assertions = ClientAssertions(client_id)
        self.roles: dict[str, set[str]] = {}
        self.ahead = 0.0
        self.passwords = Passwords(client_id, client_secret, self.now)
        self.log_ins = LogIns(tenant_id, self.now, self._encode)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def issuer(self) -> str:
        """The issuer of v1.0 access tokens, which is what storage and ARM get."""
        return f"https://sts.windows.net/{self.tenant_id}/"

    def now(self) -> float:
        """Returns Unix seconds as Entra sees them."""
        return time.time() + self.ahead

    def token(self, tenant: str, form: Mapping[str, str], audiences: Collection[str], url: str) -> dict[str, Any]:
        """Returns the token answer, for one of `audiences`, served at `url`. Raises EntraError as Entra would."""
        if tenant.lower() != self.tenant_id:
            raise EntraError(
                400,
                "invalid_request",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are "
                "signing into the correct cloud.",
            )
        if form.get("grant_type") in GRANT_TYPES:
            return self.log_ins.token(form)
        for needed in ("grant_type", "client_id", "scope"):
            if not form.get(needed):
                text = f"The request body must contain the following parameter: '{needed}'."
                raise EntraError(400, "invalid_request", 900144, text)
        if form["grant_type"] != "client_credentials":
            text = f"The app requested an unsupported grant type '{form['grant_type']}'."
            raise EntraError(400, "unsupported_grant_type", 70003, text)
        if form["client_id"].lower() != self.client_id:
            raise EntraError(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{form['client_id']}' was not found in the directory 'Valet Key'.",
            )
        if form.get("client_assertion"):
            self.assertions.check(form, f"{url}/{tenant}/oauth2/v2.0/token")
        else:
            self.passwords.check(form.get("client_secret", ""))
        audience = _audience(form["scope"], audiences)
        return {
            "token_type": "Bearer",
            "expires_in": self.token_seconds,
            "ext_expires_in": self.token_seconds,
            "access_token": self._sign(audience, self.client_id),
        }

    def token_of(self, client_id: str, resource: str, audiences: Collection[str]) -> dict[str, Any]:
        """Returns a token for one of `audiences` to an identity that is known already. Raises EntraError."""
        audience = _audience(f"{resource}/.default", audiences)
        return {
            "token_type": "Bearer",
            "expires_in": self.token_seconds,
            "expires_on": int(self.now()) + self.token_seconds,
            "access_token": self._sign(audience, client_id),
        }

    def check(self, token: str, audiences: Collection[str]) -> dict[str, Any]:
        """Returns what `token` says.

        Raises jwt.InvalidTokenError where it is not ours, not for `audiences`, or has expired.
        """
        return jwt.decode(
            token,
            self._key.public_key(),
            algorithms=["RS256"],
            audience=list(audiences),
            issuer=self.issuer,
            options={"require": ["exp", "iss", "aud"]},
            # By Entra's clock, which PyJWT cannot be told.
            leeway=abs(self.ahead),
        )

    def keys(self) -> dict[str, Any]:
        """Returns the public key as a JSON Web Key Set."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": _KEY_ID, "use": "sig"}]}

    def configuration(self, url: str) -> dict[str, Any]:
        """Returns the tenant's OpenID configuration, served at `url`."""
        tenant = f"{url}/{self.tenant_id}"
        return {
            "issuer": f"{tenant}/v2.0",
            "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
            "token_endpoint": f"{tenant}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{tenant}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{tenant}/discovery/v2.0/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_modes_supported": ["query"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        }

    def _sign(self, audience: str, client_id: str) -> str:
        now = int(self.now())
        subject = str(uuid.uuid5(uuid.UUID(self.tenant_id), client_id))
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + self.token_seconds,
            "appid": client_id,
            "appidacr": "1",
            "idp": self.issuer,
            "idtyp": "app",
            "oid": subject,
            "sub": subject,
            "tid": self.tenant_id,
            "uti": uuid.uuid4().hex,
            "ver": "1.0",
        }
        if roles := self.roles.get(audience):
            claims["roles"] = sorted(roles)
        return self._encode(claims)

    def _encode(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key, algorithm="RS256", headers={"kid": _KEY_ID})


def _audience(scope: str, audiences: Collection[str]) -> str:
    if " " in scope:
        text = f"The provided request must include a 'scope' input parameter. The scope {scope} is not valid."
        raise EntraError(400, "invalid_scope", 70011, text)
    resource, separator, _ = scope.rpartition("/.default")
    if not separator or not scope.endswith("/.default"):
        text = (
            f"The provided value for scope {scope} is not valid. Client credential flows must have a scope "
            "value with /.default suffixed to the resource identifier (application ID URI)."
        )
        raise EntraError(400, "invalid_scope", 1002012, text)
    if resource.rstrip("/") not in audiences:
        text = f"The resource principal named {resource} was not found in the tenant named Valet Key."
        raise EntraError(400, "invalid_resource", 500011, text)
    return resource.rstrip("/")
