"""Explaining and issuing: what an explanation says is what comes of the request, whatever the grants."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from support.core import (
    NOW,
    PROFILE,
    PROFILES,
    FakeClock,
    call_info,
    credential_of,
    make_connector,
    make_grant,
    no_news,
    principal,
)
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.authz.explain import Explainer, Explanation
from valetkey_broker.authz.nearest_allowed import Question
from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.scope_rules import hangs_on_account
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.connector_choice import ConnectorChooser
from valetkey_broker.issuing.decider import Decider
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.scope_choice import Scopes
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import Lease, Permission, PermissionSet, Principal, Role, Standing
from valetkey_broker.settings import IssuingSettings
from valetkey_broker.state.memory import Memory

ISSUING = IssuingSettings()
AUDITOR = principal(Role.AUDITOR, name="key:auditor")
NAMES = st.sampled_from(["key:test", "key:other", "key:te*"])
CONTAINERS = st.sampled_from(["demo", "models", "ml-a", "ml-*", "*web", "$web"])
PREFIXES = st.sampled_from(["a", "a/b", "c"])
LETTERS = st.text("racwdlme", min_size=1, max_size=6)
ADDRESSES = st.sampled_from(["", "203.0.113.7", "203.0.113.1-203.0.113.9"])
ATTRIBUTES: st.SearchStrategy[Mapping[str, str]] = st.dictionaries(
    st.sampled_from(["ns", "team"]), st.sampled_from(["x", "y-1", "y-*"]), max_size=2
)
GRANTS = st.lists(
    st.fixed_dictionaries(
        {
            "principals": st.lists(NAMES, min_size=1, max_size=2, unique=True),
            "containers": st.lists(CONTAINERS, min_size=1, max_size=2, unique=True),
            "permissions": LETTERS,
            "prefixes": st.one_of(st.just([]), st.lists(PREFIXES, max_size=2, unique=True)),
            "attributes": st.one_of(st.just({}), ATTRIBUTES),
            "max_ttl": st.sampled_from([None, 60, 3600]),
            "expires": st.sampled_from([None, NOW - 1, NOW + 30]),
            "source_ip": ADDRESSES,
            "connectors": st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True),
        }
    ),
    max_size=5,
)
RESOURCES = st.sampled_from(
    [
        *("demo", "models", "az://ml-a", "$web", "az://demo/a", "az://demo/a/b/c", "az://demo/ab", "az://demo/a/b/"),
        *("https://acc.blob.dev.invalid/demo", "https://acc.blob.dev.invalid/models/a"),
        *("https://acc.blob.elsewhere.invalid/demo", "https://acc.blob.core.windows.net/demo"),
        *("https://other.blob.dev.invalid/demo", "abfss://demo@acc.dfs.dev.invalid", "https://127.0.0.1:1/acc/demo"),
    ]
)


class World:
    """An explainer and an issuer over one policy, and a cloud in which every container is there, in one account."""

    def __init__(self, *, directories: bool) -> None:
        self.directories = directories
        self.memory = Memory()
        self.clock = FakeClock()
        self.policy = Policy(self.memory, self.clock, PROFILES)
        self.explainer = Explainer(self.policy, self.clock, ISSUING, lambda _connector, _account: directories)
        self.connectors = [
            make_connector("multi"),
            make_connector("single", "demo", account="acc"),
            make_connector("gone"),
            make_connector("never"),
            make_connector("account", storage_account="acc"),
            make_connector("abroad", "demo", account="acc", cloud="elsewhere"),
            make_connector("cloudless", cloud="no-longer-in-the-settings"),
        ]
        for known in (*self.connectors[:2], make_connector("gone"), *self.connectors[4:]):
            self.memory.put_connector(known)

    def explain(self, request: TokenRequest, of: Principal, asker: Principal) -> Explanation:
        question = Question(
            of, request.resource, request.permissions, request.connector, request.ttl, request.source_ip
        )
        return self.explainer.explain(asker, question)

    async def issue(self, request: TokenRequest, of: Principal) -> Lease | BrokerError:
        """Returns the token, or why there is none."""
        containers = ["demo", "models", "ml-a", "$web"]
        cloud = FakeCloud({"acc": containers}, profile=PROFILE)
        cloud.with_directories = {"acc"} if self.directories else set()
        questions = CloudClient(cloud, credential_of, 20)
        keys = SigningKeys(
            questions=questions, clock=self.clock, key_seconds=24 * 3600, skew_seconds=900, auth_methods=AUTH_METHODS
        )
        reach = ReachCache(questions, self.clock, 1e6)
        decider = Decider(
            memory=self.memory,
            policy=self.policy,
            chooser=ConnectorChooser(PROFILES, reach),
            scopes=Scopes(reach, keys),
            keys=keys,
            clock=self.clock,
            settings=ISSUING,
            standing=lambda _caller: Standing.GOOD,
            catch_up=no_news,
        )
        issuer = Issuer(
            decider=decider, cloud=cloud, ledger=FakeLedger(), clock=self.clock, skew_seconds=ISSUING.clock_skew_seconds
        )
        try:
            return await issuer.issue(call_info(of), request)
        except BrokerError as error:
            return error
        finally:
            await keys.close()
            await reach.close()


@pytest.mark.no_cover
@settings(max_examples=400)
@given(
    grants=GRANTS,
    resource=RESOURCES,
    letters=LETTERS,
    attributes=st.one_of(
        st.just({}),
        st.dictionaries(st.sampled_from(["ns", "team"]), st.sampled_from(["x", "y-1", "z"]), max_size=2),
    ),
    connector=st.sampled_from(["", "", "multi", "single", "gone", "account", "abroad", "nope"]),
    ttl=st.sampled_from([None, 1, 900, 7200, 12 * 3600]),
    source_ip=st.sampled_from(["", "", "203.0.113.7", "203.0.113.5-203.0.113.9", "198.51.100.1"]),
    remaining=st.sampled_from([20.5, 3600, 1e6]),
    directories=st.booleans(),
)
def test_an_explanation_says_what_issuing_does(
    grants: list[dict[str, Any]],
    resource: str,
    letters: str,
    attributes: dict[str, str],
    connector: str,
    ttl: int | None,
    source_ip: str,
    remaining: float,
    *,
    directories: bool,
) -> None:
    """Whatever the grants: allowed is what is issued, for as long, and what is called nearest is issued, too."""
    world = World(directories=directories)
    for number, fields in enumerate(grants):
        chosen = [world.connectors[which] for which in fields["connectors"]]
        rest = {name: value for name, value in fields.items() if name != "connectors"}
        world.memory.put_grant(make_grant(f"grant-{number}", *chosen, **rest))
    caller = principal(attributes=attributes, expires=NOW + remaining)
    permissions = PermissionSet(Permission(letter) for letter in letters)
    request = TokenRequest.parse(resource, permissions, ttl=ttl, connector=connector, source_ip=source_ip)
    explained, own = world.explain(request, caller, AUDITOR), world.explain(request, caller, caller)
    lease = asyncio.run(world.issue(request, caller))
    if explained.allowance is not None and isinstance(lease, BrokerError):
        # Where a connector serves more than one container, only Azure knows that it is there twice, or not at all.
        assume(lease.reason is not Reason.RESOURCE_AMBIGUOUS)
        assume(lease.reason is not Reason.RESOURCE_NOT_FOUND or request.resource.account != "other")
        # Where the account is open, whether it has directories is, too; and it is said that it is.
        assume("nobody has asked yet" not in explained.scope)
    assert (explained.allowance is not None) == (own.allowance is not None) == isinstance(lease, Lease)
    if not isinstance(lease, Lease):
        assert explained.error or all(finding.reasons for finding in (*explained.findings, *own.findings))
        assert explained.error == own.error
        check_nearest(world, explained, request, caller)
        check_nearest(world, own, request, caller)
        return
    assert explained.allowance is not None
    assert explained.findings[0].reasons == own.findings[0].reasons == []
    assert explained.nearest is own.nearest is None
    assert lease.grant in {finding.grant for finding in own.findings if not finding.reasons}
    if lease.connector == explained.allowance.connector.name:
        assert lease.expires == int(NOW) + explained.allowance.ttl
        assert lease.ttl_limited_by is explained.allowance.limited_by
    assert (lease.ttl_limited_by is None) == (lease.expires - int(NOW) == (ttl or ISSUING.default_ttl_seconds))


def check_nearest(world: World, explained: Explanation, request: TokenRequest, caller: Principal) -> None:
    """Holds that what is called nearest is issued, to somebody with the attributes that it names, and to the letter."""
    nearest = explained.nearest
    if nearest is None:
        return
    also = {name: pattern.text.replace("*", "1") for name, pattern in nearest.attributes}
    asking = replace(caller, attributes={**caller.attributes, **also})
    again = replace(
        request,
        resource=nearest.resource,
        permissions=nearest.permissions,
        connector=nearest.connector,
        source_ip=nearest.source_ip or request.source_ip,
    )
    outcome = asyncio.run(world.issue(again, asking))
    open_account = hangs_on_account(again.resource, again.permissions) and nearest.connector == "multi"
    assert isinstance(outcome, Lease) or (open_account and outcome.reason is Reason.SCOPE_UNSUPPORTED)
