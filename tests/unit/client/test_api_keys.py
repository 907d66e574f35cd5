"""API keys are made on the caller's side."""

import hashlib
import re

import valetkey
from valetkey_broker.model import api_key_digest


def test_a_key_has_the_form_and_digest_the_broker_knows() -> None:
    """Protects the agreement of both ends: what the client makes, the broker recognises by the same hash."""
    key = valetkey.generate_api_key()
    assert re.fullmatch(r"vk_[A-Za-z0-9_-]{43}", key)
    assert valetkey.api_key_sha256(key) == hashlib.sha256(key.encode()).digest() == api_key_digest(key)


def test_keys_differ() -> None:
    """Protects against a generator that is not random."""
    assert len({valetkey.generate_api_key() for _ in range(100)}) == 100
