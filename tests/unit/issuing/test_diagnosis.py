"""What the broker says of a token that storage refuses: to whom, out of what, and never more than is on record."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from support.core import NOW, PROFILE, PROFILES, FakeClock, credential_of, make_connector, principal
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import Reason
from valetkey_broker.issuing.diagnosis import Diagnoser, TokenQuestion
from valetkey_broker.model import Event, EventKind, InvalidFieldError, Permission, Principal, Role
from valetkey_broker.model.account_settings import AccountSettings, PolicyAction
from valetkey_broker.model.revocation import KeyRevocation, Revocation, RevocationTarget
from valetkey_broker.revoking.lease_states import LeaseStates
from valetkey_broker.state.memory import Memory

HASH = "ab" * 32
URL = "https://one.blob.dev.invalid/demo"
OWNER = principal(name="key:trainer")
OPERATOR = principal(Role.OPERATOR, name="key:ops")


class Scene:
    """A token of key:trainer on record, and its connector in memory."""

    def __init__(self) -> None:
        self.memory, self.ledger, self.clock = Memory(), FakeLedger(), FakeClock()
        self.cloud = FakeCloud({"one": ["demo"]}, profile=PROFILE)
        self.connector = make_connector(uid="uid-1")
        self.memory.put_connector(self.connector)
        questions = CloudClient(self.cloud, credential_of, 1)
        self.diagnoser = Diagnoser(
            self.memory,
            self.ledger,
            questions,
            PROFILES,
            self.clock,
            5000,
            LeaseStates(self.memory, AUTH_METHODS, self.clock),
        )
        self.event = Event(
            kind=EventKind.TOKEN_ISSUED,
            time=NOW - 60,
            principal="key:trainer",
            connector=self.connector.name,
            connector_uid="uid-1",
            credential_version=1,
            resource=URL,
            permissions="rl",
            ttl=900,
            expires=int(NOW) + 840,
            lease_id="lease-1",
            signature_sha256=HASH,
        )

    async def causes(self, caller: Principal = OWNER, **asked: object) -> list[str]:
        """Records the token, and returns what is found, decisive findings first."""
        await self.ledger.record(self.event)
        question = TokenQuestion(**{"lease_id": "lease-1", **asked})  # type: ignore[arg-type]
        self.found = await self.diagnoser.diagnose(caller, question)
        return [finding.cause for finding in self.found.findings]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_good_token_has_nothing_against_it(scene: Scene) -> None:
    """Found by its lease, or by hash and end; its owner and those who look after the broker hear of it."""
    assert await scene.causes() == []
    assert scene.found.lease == scene.event
    by_hash = {"lease_id": "", "signature_sha256": HASH, "expires": int(NOW) + 840}
    assert await scene.causes(**by_hash) == []
    assert await scene.causes(OPERATOR) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"lease_id": "lease-2"},
        {"signature_sha256": "cd" * 32},
        {"lease_id": "", "signature_sha256": HASH, "expires": 1},
    ],
)
async def test_what_is_not_on_record_is_unknown(scene: Scene, asked: dict[str, object]) -> None:
    """Also a token that has the id of another, and another signature: it was altered."""
    assert await scene.causes(**asked) == ["unknown"]
    assert scene.found.lease is None


async def test_tokens_of_others_are_nobodys_business(scene: Scene) -> None:
    """A stranger hears the same of a token of somebody else and of none."""
    assert await scene.causes(principal(name="key:other")) == ["unknown"]
    theirs = scene.found.findings
    assert await scene.causes(principal(name="key:other"), lease_id="nope") == ["unknown"]
    assert scene.found.findings == theirs


async def test_something_is_to_be_named(scene: Scene) -> None:
    """A question that names no token is refused."""
    with pytest.raises(InvalidFieldError):
        await scene.causes(lease_id="")


async def test_each_cause_is_told(scene: Scene) -> None:
    """End, permission, place, key, credential, connector and grant, each by itself."""
    assert await scene.causes(operation=Permission.WRITE) == ["permission"]
    assert await scene.causes(url="https://one.blob.dev.invalid/demo-other/x") == ["scope"]
    assert await scene.causes(url=f"{URL}/x", operation=Permission.READ) == []
    scene.memory.put_connector(replace(scene.connector, keys_not_before=int(NOW)))
    assert await scene.causes() == ["key-dropped"]
    scene.memory.put_connector(replace(scene.connector, credential_version=2))
    assert await scene.causes() == ["credential-changed"]
    scene.memory.put_connector(replace(scene.connector, uid="uid-2"))
    assert await scene.causes() == ["connector-gone"]
    scene.memory.put_connector(scene.connector)
    scene.event = replace(scene.event, grant="training", lease_id="lease-3")
    assert await scene.causes(lease_id="lease-3") == ["grant-gone"]
    scene.clock.now += 3600
    assert await scene.causes(lease_id="lease-3") == ["expired", "grant-gone"]


def revocation(target: RevocationTarget, **keys: int) -> Revocation:
    """Returns one of an hour ago; with `keys`, of the user delegation keys of the account, too."""
    dead = KeyRevocation(
        cloud="dev",
        account="one",
        through="sp",
        probe_connector="sp",
        container="demo",
        **keys,  # type: ignore[arg-type]
    )
    return Revocation(
        name="r-1",
        target=target,
        reason="leaked",
        hard=bool(keys),
        created_at=datetime.fromtimestamp(NOW - 30, UTC),
        created_by="key:ops",
        keys=(dead,) if keys else (),
    )


async def test_who_took_access_back_is_told_in_the_words_of_its_owner(scene: Scene) -> None:
    """Since when, why, whom to ask; whether this token still works; and of a token that was hit beside, to ask anew."""
    mine = RevocationTarget(principal="key:trainer")
    scene.memory.put_revocation(revocation(mine))
    assert await scene.causes() == ["revoked"]
    (found,) = scene.found.findings
    since = datetime.fromtimestamp(NOW - 30, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found.message.startswith(f"access was revoked by key:ops at {since}: leaked. No further token is given")
    assert (found.mend, found.decides) == ("Ask them; they know it as revocation r-1.", False)
    scene.memory.put_revocation(revocation(mine, revoked_at=int(NOW)))
    assert await scene.causes() == ["revoked"]
    assert (scene.found.findings[0].decides, "or will in a moment" in scene.found.findings[0].message) == (True, True)
    scene.memory.put_revocation(revocation(RevocationTarget(principal="key:other"), revoked_at=int(NOW), proved_at=1))
    assert await scene.causes() == ["key-revoked"]
    (found,) = scene.found.findings
    assert (found.mend, found.decides) == ("Ask for a new token.", True)
    scene.memory.put_revocation(revocation(mine))
    scene.clock.now += 3600
    assert await scene.causes() == ["expired", "revoked"]
    assert scene.found.findings[1].message.endswith("No further token is given")
    scene.memory.put_revocation(replace(revocation(mine), lifted_at=datetime.fromtimestamp(NOW, UTC)))
    assert await scene.causes() == ["expired"]


async def test_account_settings_are_for_those_who_run_the_broker(scene: Scene) -> None:
    """A consumer neither sees them nor makes the broker ask for them."""
    scene.cloud.settings["one"] = AccountSettings(user_bound=PolicyAction.BLOCK)
    assert await scene.causes() == []
    assert scene.cloud.calls["account_settings"] == 0
    assert await scene.causes(OPERATOR) == ["account-settings"]
    assert "not bound to a user" in scene.found.findings[0].message
    scene.cloud.fail("account_settings", Reason.CLOUD_PERMISSION_MISSING)
    assert await scene.causes(OPERATOR) == []


@pytest.mark.parametrize(
    ("url", "known"),
    [
        (URL, True),
        (f"{URL}/a/b.bin", True),
        ("https://one.blob.elsewhere.invalid/x", True),
        ("https://one.blob.dev.invalid.evil.example/x", False),
        ("https://evil.example/one.blob.dev.invalid/x", False),
        ("https://a.b.blob.dev.invalid/x", False),
        ("https://one@evil.example/.blob.dev.invalid/x", False),
        ("http://one.blob.dev.invalid/x", False),
        ("", False),
    ],
)
async def test_only_hosts_of_the_brokers_clouds_are_known(scene: Scene, url: str, known: bool) -> None:
    """A client shows its token to no other host on the broker's word."""
    await scene.causes(principal(name="key:other"), url=url)
    assert scene.found.storage_known is known
