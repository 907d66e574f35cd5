"""Reads an issuer's public keys (RFC 7517), leaving out all that no token may be checked with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from valetkey_broker.ports import KeySourceError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
MAX_KID_CHARACTERS = 256
_MOST_KEYS = 100
# Below, RS256 is not safe (RFC 7518, section 3.3); above, checking one signature takes too long.
_RSA_BITS = range(2048, 8192 + 1)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": frozenset({"ES256"}), "secp384r1": frozenset({"ES384"})}
_EDWARDS = frozenset({"EdDSA"})


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A public key and the algorithms it fits. `jwk` is what it was read from, in one canonical form."""

    id: str
    algorithms: frozenset[str]
    material: PublicKey
    jwk: str


def read_jwks(document: Mapping[str, Any]) -> Mapping[str, tuple[SigningKey, ...]]:
    """Returns the usable keys by their `kid`. Raises KeySourceError where it is not a JWKS.

    Keys without a `kid`, private and symmetric ones, those for encryption and of unknown kinds are left out.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise KeySourceError(f"not a JWKS; expected an object with a list 'keys' of at most {_MOST_KEYS}")
    keys: dict[str, tuple[SigningKey, ...]] = {}
    for jwk in listed:
        key = _key(jwk)
        if key is not None:
            keys[key.id] = (*keys.get(key.id, ()), key)
    return keys


def _key(jwk: Any) -> SigningKey | None:
    if not isinstance(jwk, dict):
        return None
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        return None
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    material = _material(jwk)
    if material is None:
        return None
    fitting = _algorithms(material)
    if "alg" in jwk:
        fitting = frozenset(name for name in fitting if name == jwk["alg"])
    return SigningKey(kid, fitting, material, json.dumps(jwk, sort_keys=True)) if fitting else None


def _material(jwk: dict[str, Any]) -> PublicKey | None:
    readers: dict[Any, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    kind = jwk.get("kty")
    reader = readers.get(kind) if isinstance(kind, str) else None
    if reader is None:
        return None
    try:
        material = reader.from_jwk(jwk)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        return None
    return material if isinstance(material, PublicKey) else None


def _algorithms(material: PublicKey) -> frozenset[str]:
    if isinstance(material, RSAPublicKey):
        return _RSA if material.key_size in _RSA_BITS else frozenset()
    if isinstance(material, EllipticCurvePublicKey):
        return _CURVES.get(material.curve.name, frozenset())
    return _EDWARDS
