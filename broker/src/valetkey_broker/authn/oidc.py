"""Authenticates callers by JWTs of configured issuers (OpenID Connect)."""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache
from jwt import PyJWTError
from jwt.api_jws import PyJWS

from valetkey_broker.authn.claims import ClaimRules, check_claims
from valetkey_broker.authn.issuer_keys import KeyRing
from valetkey_broker.authn.jwks import MAX_KID_CHARACTERS, SigningKey
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import BrokerError, credentials_invalid
from valetkey_broker.model import Evidence, Principal, Standing
from valetkey_broker.ports import Clock

MAX_TOKEN_CHARACTERS = 8192
# Three parts; the last one is empty where alg is none, which is told in those words.
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_MOST_VERIFIED = 10_000
_UNVERIFIED: Any = {"verify_signature": False}


@dataclass(frozen=True, slots=True)
class Issuer:
    """One configured issuer. `name` is compared with the claim `iss` as it stands."""

    name: str
    algorithms: frozenset[str]
    rules: ClaimRules
    keys: KeyRing


@dataclass(frozen=True, slots=True)
class OidcPrincipal(Principal):
    """A principal that knows which key vouched for it; grants see nothing of that."""

    key: SigningKey = field(kw_only=True, repr=False, compare=False)
    ring: KeyRing = field(kw_only=True, repr=False, compare=False)


class OidcVerifier:
    """Verifies each token once and remembers it, by its SHA-256, as long as token and signing key are good."""

    def __init__(self, issuers: Sequence[Issuer], roles: RoleBindings, clock: Clock) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._roles = roles
        self._clock = clock
        self._verified: LRUCache[bytes, OidcPrincipal] = LRUCache(_MOST_VERIFIED)
        self._jws = PyJWS()

    @staticmethod
    def recognises(presented: str) -> bool:
        """Tells whether that has the form of a JWT."""
        return _JWT.fullmatch(presented) is not None

    async def verify(self, token: str) -> Principal:
        """Returns the principal `oidc:ISSUER#SUBJECT`. Raises CREDENTIALS_INVALID, …EXPIRED, ISSUER_UNAVAILABLE."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise credentials_invalid(
                f"the token is over {MAX_TOKEN_CHARACTERS} characters", evidence="jwt", problem="length"
            )
        digest = hashlib.sha256(token.encode("ascii")).digest()
        known = self._verified.get(digest)
        if known is not None:
            await known.ring.catch_up()
            if self.standing(known) is Standing.GOOD:
                return known
            self._verified.pop(digest, None)
        verified = await self._verify(token)
        self._verified[digest] = verified
        return verified

    def standing(self, principal: Principal) -> Standing:
        """Tells whether the token that made `principal` lives, and its issuer still shows the key that signed it."""
        if not isinstance(principal, OidcPrincipal) or principal.expires <= self._clock():
            return Standing.ENDED
        return principal.ring.standing(principal.key)

    def vouchers(self) -> object:
        """Returns the keys that issuers show; something else where `standing` may have changed other than by time."""
        return [issuer.keys.shown() for issuer in self._issuers.values()]

    async def close(self) -> None:
        """Ends what is under way."""
        await asyncio.gather(*(issuer.keys.close() for issuer in self._issuers.values()))

    async def _verify(self, token: str) -> OidcPrincipal:
        header, claims = self._read(token)
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise credentials_invalid(
                "the token's issuer is not one of those this broker is set up for", evidence="jwt", problem="issuer"
            )
        algorithm, kid = header.get("alg"), header.get("kid")
        # Nothing of the header is followed: not jwk, jku or x5u; and what it calls critical is not understood here.
        if not isinstance(algorithm, str) or algorithm not in issuer.algorithms or "crit" in header or "b64" in header:
            raise credentials_invalid(
                "the token's algorithm is not one of those allowed for its issuer", evidence="jwt", problem="algorithm"
            )
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
            raise credentials_invalid(
                "the token does not name its key; expected the header kid", evidence="jwt", problem="key"
            )
        key = await self._signed_by(token, issuer.keys, kid, algorithm)
        # The waiting may have taken a while: what counts is the time now.
        read = check_claims(claims, issuer.rules, self._clock())
        full_name = f"oidc:{issuer.name}#{read.subject}"
        return OidcPrincipal(
            full_name,
            self._roles.of(full_name),
            Evidence.OIDC,
            read.expires,
            read.attributes,
            key=key,
            ring=issuer.keys,
        )

    async def _signed_by(self, token: str, ring: KeyRing, kid: str, algorithm: str) -> SigningKey:
        """Returns the key that signed a token. Raises what KeyRing.find raises, or CREDENTIALS_INVALID."""
        tried: list[SigningKey] = []
        # Some issuers give a new key the name of the old one: then what is known by that name has to be had anew.
        for anew in (False, True):
            for key in await ring.find(kid, algorithm, anew=anew):
                if key in tried:
                    continue
                tried.append(key)
                with contextlib.suppress(PyJWTError):
                    self._jws.decode_complete(token, key.material, algorithms=[algorithm])
                    return key
        raise credentials_invalid(
            "the token's signature does not verify; get a new token", evidence="jwt", problem="signature"
        )

    def _read(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns header and claims as they stand: only to find whom to ask, until the signature is verified."""
        try:
            parts = self._jws.decode_complete(token, options=_UNVERIFIED)
            claims = json.loads(parts["payload"])
        except (PyJWTError, ValueError, RecursionError):
            raise _malformed() from None
        if not isinstance(claims, dict):
            raise _malformed()
        return parts["header"], claims


def _malformed() -> BrokerError:
    return credentials_invalid("the token cannot be read; expected a signed JWT", evidence="jwt", problem="malformed")
