"""StreamChecks: what streams are woken by, whether a token's signer is still the one in use, and what ends a stream."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from support.core import NOW, PROFILE, PROFILES, FakeClock, make_connector, make_grant, principal
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.authz.policy import Policy
from valetkey_broker.issuing import stream_checks
from valetkey_broker.issuing.stream_checks import StreamChecks
from valetkey_broker.issuing.stream_end_reasons import AccessRevoked, EndReason
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import Connector, Container, Lease, Permission, PermissionSet, Scope, Standing
from valetkey_broker.model.revocation import Revocation, RevocationTarget
from valetkey_broker.state.memory import Memory

_READ = PermissionSet([Permission.READ])
_REQUEST = TokenRequest.parse("az://demo", _READ)
_CALLER = principal(expires=NOW + 100_000)


class Checks:
    """StreamChecks on a memory with a connector and a grant for it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.clock = FakeClock()
        self.vouchers = 0
        self.keys_not_before = 0
        self.checks = StreamChecks(
            policy=Policy(self.memory, self.clock, PROFILES),
            memory=self.memory,
            standing=lambda _caller: Standing.GOOD,
            clock=self.clock,
            auth_methods=AUTH_METHODS,
            refreshed=lambda caller: caller,
            keys_not_before=lambda _connector, _account: self.keys_not_before,
            vouchers=lambda: self.vouchers,
        )
        self.connector = make_connector()
        self.memory.put_connector(self.connector)
        self.memory.put_grant(make_grant("training", self.connector))

    def lease(self, connector: Connector | None = None) -> Lease:
        """Returns a token that was issued just now."""
        by = connector or self.connector
        return Lease(
            id="l-1",
            principal="key:test",
            grant="training",
            connector=by.name,
            connector_uid=by.uid,
            credential_version=by.credential_version,
            scope=Scope.of_container(Container.of(PROFILE, "acc", "demo")),
            permissions=_READ,
            starts=int(NOW) - 900,
            expires=int(NOW) + 900,
            sas_token="",
        )

    def revoke(self, **target: str) -> None:
        self.memory.put_revocation(
            Revocation(
                name="r-1",
                target=RevocationTarget(**target),  # type: ignore[arg-type] # texts
                reason="",
                hard=False,
                created_at=datetime.fromtimestamp(NOW, UTC),
                created_by="key:ops",
            )
        )


def test_each_kind_of_news_is_news_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document, somebody who vouches, a clock that was set and the broker's end wake streams; time alone does not."""
    passed = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(stream_checks, "time", SimpleNamespace(monotonic=lambda: passed.seconds))
    scene = Checks()
    heard = [scene.checks.news()]

    def is_news() -> bool:
        heard.append(scene.checks.news())
        assert scene.checks.news() == heard[-1], "it is told once"
        return heard[-1] != heard[-2]

    scene.clock.now += 3600
    passed.seconds += 3600
    assert not is_news()
    scene.memory.drop_grant("training")
    assert is_news()
    scene.vouchers += 1
    assert is_news()
    scene.clock.now -= 3600
    assert is_news()
    scene.clock.now += 0.1
    assert not is_news()
    scene.checks.stopping = True
    assert is_news()


@pytest.mark.parametrize(("auth_method", "another"), [("service-principal", False), ("account-key", True)])
def test_another_signer(auth_method: str, another: bool) -> None:
    """A rotation asks for fresh tokens where the credential itself signs, and not where Azure gives the keys for it."""
    scene = Checks()
    scene.connector = replace(scene.connector, auth_method=auth_method)
    scene.memory.put_connector(scene.connector)
    lease = scene.lease()
    signer = scene.checks.signer(lease)
    assert signer
    assert not scene.checks.has_new_signer(lease, signer)
    assert not scene.checks.has_new_signer(lease, "another")
    rotated = replace(scene.connector, credential_version=2)
    scene.memory.put_connector(rotated)
    assert scene.checks.signer(lease) == ""
    assert scene.checks.has_new_signer(lease, signer) is another
    assert not scene.checks.has_new_signer(scene.lease(rotated), scene.checks.signer(scene.lease(rotated)))


def test_a_token_of_a_dead_key_is_renewed() -> None:
    """Keys were revoked: what begins before that was signed by one of them, and what begins then was not."""
    scene = Checks()
    lease = scene.lease()
    signer = scene.checks.signer(lease)
    for begins, dead in ((lease.starts, False), (lease.starts + 1, True)):
        scene.keys_not_before = begins
        assert scene.checks.has_new_signer(lease, signer) is dead


def test_a_connector_made_anew_signed_nothing() -> None:
    """A token of an earlier connector of that name has no signer any more, and is not renewed for having another."""
    scene = Checks()
    lease = scene.lease()
    scene.keys_not_before = lease.starts + 1
    scene.memory.drop_connector(scene.connector.name)
    scene.memory.put_connector(make_connector())
    assert scene.checks.signer(lease) == ""
    assert not scene.checks.has_new_signer(lease, "")
    assert scene.checks.why_not(lease) is EndReason.CONNECTOR_GONE


def test_why_a_token_is_not_renewed() -> None:
    """What was revoked is told as that, with whom to ask; else it is the grant, while the connector is there."""
    scene = Checks()
    lease = scene.lease()
    assert scene.checks.revoked(lease) is None
    assert scene.checks.why_not(lease) is EndReason.GRANT_GONE
    scene.revoke(principal="key:other")
    assert scene.checks.why_not(lease) is EndReason.GRANT_GONE
    scene.revoke(principal="key:test")
    revoked = scene.checks.why_not(lease)
    assert isinstance(revoked, AccessRevoked)
    assert "revocation r-1" in revoked.value


def test_how_long_a_token_is_allowed() -> None:
    """By the connector of the last token while it is allowed; for an identity in its last second, until its end."""
    scene = Checks()
    other = make_connector("other")
    scene.memory.put_connector(other)
    scene.memory.put_grant(make_grant("training", scene.connector, expires=NOW + 60))
    scene.memory.put_grant(make_grant("other", other, expires=NOW + 3600))
    lease, anothers = scene.lease(), scene.lease(make_connector("gone"))
    assert scene.checks.allowed_until(_CALLER, _REQUEST, lease) == NOW + 60
    assert scene.checks.allowed_until(_CALLER, _REQUEST, anothers) == NOW + 3600
    last_second = replace(_CALLER, expires=NOW + 0.5)
    assert scene.checks.allowed_until(last_second, _REQUEST, lease) == NOW + 0.5
    scene.memory.drop_grant("training")
    scene.memory.drop_grant("other")
    assert scene.checks.allowed_until(_CALLER, _REQUEST, lease) is None
