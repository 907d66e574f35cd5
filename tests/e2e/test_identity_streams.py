"""`valetkey token watch` on a whole stack: fresh tokens in time, and an end with its reason within 5 s."""

import time
from datetime import datetime, timedelta

import pytest

from support.e2e import soon, unique
from support.identity_stack import REFRESH, IdentityStack
from support.oidc import Signer
from support.spiffe import DOMAIN
from support.token_commands import SOON, issue, watching

pytestmark = [pytest.mark.xdist_group("e2e-identity-ledger"), pytest.mark.unmeasured]
# What the client makes of an end that asking again would not change.
REFUSED = 3


def test_fresh_tokens_come_ahead(stack: IdentityStack) -> None:
    """The first token comes at once, each further one while the last still lives; each is a lease of its own."""
    stack.grant(stack.subject("renewing", "trainer"), "--role", "deployer")
    pod = stack.pod("renewing", "trainer")
    stack.settle()
    began = time.time()
    with watching(pod, "--ttl", "9s") as watch:
        tokens, ends = [], began + SOON
        for _ in range(3):
            tokens.append(watch.token())
            assert time.time() < ends
            ends = datetime.fromisoformat(tokens[-1]["expire_time"]).timestamp()
    assert len({token["lease_id"] for token in tokens}) == 3
    list(stack.storage(tokens[-1]).list_blobs())


def test_end_with_the_grant(stack: IdentityStack) -> None:
    """A deleted grant ends the streams it allowed."""
    grant = stack.grant(stack.subject("streaming", "grant"), "--role", "deployer")
    pod = stack.pod("streaming", "grant")
    stack.settle()
    with watching(pod) as watch:
        assert watch.token()["grant"] == grant
        stack.change("grant", "delete", grant, "--yes")
        assert watch.end() == (REFUSED, "GRANT_GONE")


def test_end_with_the_connector(stack: IdentityStack) -> None:
    """A deleted connector ends the streams it served."""
    operator, name = stack.pod("ops", "alice"), unique("artifacts")
    assert stack.register(operator, name).code == 0
    svid = stack.ca.issue([f"spiffe://{DOMAIN}/ns/streaming/sa/connector"])
    principal = f"spiffe://{DOMAIN}/ns/streaming/sa/*"
    stack.grant(principal, "--role", "deployer", connector=name)
    workload = stack.workload(svid)
    stack.settle()
    with watching(workload) as watch:
        assert watch.token()["connector"] == name
        stack.change("service-connector", "delete", name, "--yes", by=operator)
        assert watch.end() == (REFUSED, "CONNECTOR_GONE")


def test_end_with_the_key(stack: IdentityStack) -> None:
    """A revoked API key ends the streams that were begun with it."""
    name, holder = stack.new_key()
    stack.grant(f"key:{name}", "--role", "deployer")
    stack.settle()
    with watching(holder) as watch:
        watch.token()
        stack.change("api-key", "revoke", name, "--yes")
        assert watch.end() == (REFUSED, "IDENTITY_REVOKED")


def test_end_with_the_token_or_certificate(stack: IdentityStack) -> None:
    """A stream goes no further than the JWT or the certificate it was begun with: 5 s after that it has ended."""
    stack.grant(stack.subject("brief", "trainer"), "--role", "deployer")
    stack.grant(f"spiffe://{DOMAIN}/ns/brief/sa/trainer", "--role", "deployer")
    brief = [f"spiffe://{DOMAIN}/ns/brief/sa/trainer"]
    stack.settle()
    ends = int(time.time()) + 15
    svid = stack.ca.issue(brief, ends=timedelta(seconds=ends - time.time()))
    with (
        watching(stack.pod("brief", "trainer", exp=ends)) as by_token,
        watching(stack.workload(svid)) as by_certificate,
    ):
        for watch in (by_token, by_certificate):
            watch.token()
            assert time.time() < ends
        for watch in (by_token, by_certificate):
            assert watch.end(within=ends - time.time() + SOON) == (REFUSED, "IDENTITY_EXPIRED")
            assert time.time() >= ends


def test_end_with_the_issuers_key(stack: IdentityStack) -> None:
    """A signing key that its issuer withdraws takes along the streams of the tokens it signed, and lets nobody in."""
    stack.grant(stack.subject("withdrawn", "trainer"), "--role", "deployer")
    kept = stack.issuer.signers
    stack.issuer.signers = [Signer(unique("kid"), which=1), *kept]
    pod = stack.pod("withdrawn", "trainer")
    stack.settle()
    with watching(pod) as watch:
        watch.token()
        stack.issuer.signers = kept
        assert watch.end(within=REFRESH + SOON) == (REFUSED, "IDENTITY_REVOKED")
    assert soon(lambda: issue(pod).code == REFUSED, REFRESH + SOON)
