"""A verifier of tokens, fresh for each test."""

import pytest

from support.oidc_verifier import Oidc


@pytest.fixture
async def oidc() -> Oidc:
    return Oidc()
