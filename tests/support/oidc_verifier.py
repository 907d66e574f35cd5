"""A verifier of tokens with a clock and an issuer to play with."""

from typing import Any

from support.core import FakeClock
from support.oidc import AUDIENCE, ISSUER, KUBERNETES_ATTRIBUTES, FakeKeySource
from valetkey_broker.authn.claims import ClaimRules
from valetkey_broker.authn.issuer_keys import KeyRing
from valetkey_broker.authn.oidc import Issuer, OidcVerifier
from valetkey_broker.authn.roles import RoleBindings


class Oidc:
    """One issuer, its keys, and the verifier that believes it."""

    def __init__(
        self,
        *,
        algorithms: tuple[str, ...] = ("RS256", "ES256"),
        roles: RoleBindings | None = None,
        issuer: str = ISSUER,
        **rules: Any,
    ) -> None:
        self.clock = FakeClock()
        self.source = FakeKeySource()
        self.ring = KeyRing(issuer, self.source, passed=self.clock)
        rules = {"attributes": KUBERNETES_ATTRIBUTES, **rules}
        configured = Issuer(issuer, frozenset(algorithms), ClaimRules(AUDIENCE, **rules), self.ring)
        self.verifier = OidcVerifier([configured], roles or RoleBindings(), self.clock)
