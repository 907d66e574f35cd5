"""The ledger on PostgreSQL, as an auditor sees it: who got what, who was refused, provably, and no secret of theirs."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from support.e2e import CONNECTOR, DEMO, Cli, soon, unique
from support.identity_stack import IdentityStack
from support.spiffe import DOMAIN
from support.token_commands import SOON, eventually, issue, why

pytestmark = [pytest.mark.xdist_group("e2e-identity-ledger"), pytest.mark.unmeasured]
ISSUE = "/valetkey.v1.TokenService/IssueToken"


@dataclass(frozen=True)
class Story:
    """What happened, and to whom: each caller's token, by its principal, and what was refused, by its request id."""

    tokens: dict[str, dict[str, Any]]
    refused: dict[str, dict[str, Any]]
    changes: list[tuple[str, str, str]]
    key_grant: str
    key_holder: Cli
    key: str


@pytest.fixture(scope="module")
def story(stack: IdentityStack) -> Story:
    """A pod, a workload and the holder of a key get tokens; a stranger, a forger and an operator are refused."""
    pod, workload = stack.subject("recorded", "trainer"), f"spiffe://{DOMAIN}/ns/recorded/sa/trainer"
    key, holder = stack.new_key()
    principals = {pod: stack.pod("recorded", "trainer"), workload: stack.workload(stack.ca.issue([workload]))}
    principals[f"key:{key}"] = holder
    grants = {principal: stack.grant(principal, "--role", "step-operator") for principal in principals}
    stack.settle()
    tokens = {
        principal: stack.issued(by, "--ttl", "10m", "--purpose", "the story") for principal, by in principals.items()
    }
    assert {principal: token["grant"] for principal, token in tokens.items()} == grants
    operator = stack.pod("ops", "bob")
    own = ("--principal", stack.subject("ops", "bob"), "--connector", CONNECTOR, "--container", "*")
    errors = {
        "stranger": why(issue(stack.pod("recorded", "stranger"))),
        "greedy": why(issue(principals[pod], permissions="read,delete")),
        "operator": why(operator("grant", "create", "mine", *own, "--role", "deployer", "-o", "json")),
        "forger": why(issue(stack.bearer(stack.issuer.mint(aud="vault")))),
    }
    return Story(
        tokens,
        errors,
        [("CreateApiKey", f"api-keys/{key}", "key:admin"), ("CreateGrant", f"grants/{grants[pod]}", "key:admin")],
        grants[f"key:{key}"],
        holder,
        key,
    )


def of_request(stack: IdentityStack, error: dict[str, Any]) -> dict[str, Any]:
    """Returns the one record of a refused call."""
    (event,) = stack.events("--request-id", error["request_id"])
    return event


def test_every_token_is_on_record(stack: IdentityStack, story: Story) -> None:
    """Of each token: who, known how, from where, by which grant, for what; and it can be matched with its signature."""
    kinds = {"oidc": "oidc", "spiffe": "mtls", "key": "api-key"}
    for principal, token in story.tokens.items():
        (event,) = stack.events("--lease-id", token["lease_id"])
        assert event["kind"] == "token-issued"
        assert (event["principal"], event["peer"]) == (principal, "127.0.0.1")
        assert event["authentication"] == kinds[principal.partition(":")[0]]
        assert (event["grant"], event["connector"], event["purpose"]) == (token["grant"], CONNECTOR, "the story")
        assert (event["permissions"], event["ttl_seconds"]) == (["read", "list"], 600)
        assert (event["expire_time"], event["resource"]) == (token["expire_time"], token["url"])
        (signature,) = parse_qs(token["sas_token"])["sig"]
        assert event["signature_sha256"] == hashlib.sha256(signature.encode()).hexdigest()


def test_every_refusal_and_change_is_on_record(stack: IdentityStack, story: Story) -> None:
    """Of each refusal who it was, as far as known, and why; of each change who made it."""
    stranger = of_request(stack, story.refused["stranger"])
    assert (stranger["kind"], stranger["reason"], stranger["method"]) == ("denied", "RESOURCE_DENIED", ISSUE)
    assert (stranger["principal"], stranger["resource"]) == (stack.subject("recorded", "stranger"), DEMO)
    assert (stranger["authentication"], stranger["peer"], stranger["lease_id"]) == ("oidc", "127.0.0.1", "")
    greedy = of_request(stack, story.refused["greedy"])
    assert (greedy["reason"], greedy["permissions"]) == ("RESOURCE_DENIED", ["read", "delete"])
    operator = of_request(stack, story.refused["operator"])
    assert (operator["kind"], operator["reason"]) == ("denied", "ROLE_REQUIRED")
    assert operator["principal"] == stack.subject("ops", "bob")
    forger = of_request(stack, story.refused["forger"])
    assert (forger["kind"], forger["reason"]) == ("authentication-failed", "CREDENTIALS_INVALID")
    assert (forger["principal"], forger["peer"]) == ("", "127.0.0.1")
    changes = {
        (event["method"].rpartition("/")[2], event["object"], event["principal"])
        for event in stack.events("--kind", "admin-change")
    }
    assert set(story.changes) <= changes


def test_who_may_read_it(stack: IdentityStack, story: Story) -> None:
    """The auditor reads, and changes nothing; those who are on record do not read it."""
    auditor = stack.auditor()
    assert story.tokens.keys() <= {
        json.loads(line)["principal"] for line in _lines(auditor, "audit", "tail", "-n", "500")
    }
    assert why(auditor("grant", "delete", story.key_grant, "--yes", "-o", "json"))["reason"] == "ROLE_REQUIRED"
    assert why(issue(auditor))["reason"] == "RESOURCE_DENIED"
    for other in (story.key_holder, stack.pod("ops", "bob")):
        assert why(other("audit", "tail", "-o", "json"))["reason"] == "ROLE_REQUIRED"


def test_leases(stack: IdentityStack, story: Story) -> None:
    """The tokens that live can be listed, all of somebody's, all on a container; those that have ended on request."""
    auditor, (principal, token) = stack.auditor(), next(iter(story.tokens.items()))

    def leases(*options: str) -> dict[str, dict[str, Any]]:
        return {each["lease_id"]: each for each in auditor.done("lease", "list", *options, "-o", "json").json}

    found = leases("--principal", principal)
    assert set(found) == {token["lease_id"]}
    assert (found[token["lease_id"]]["grant"], found[token["lease_id"]]["purpose"]) == (token["grant"], "the story")
    issued = {each["lease_id"] for each in story.tokens.values()}
    assert issued <= leases("--resource", DEMO).keys()
    assert issued <= leases("--connector", CONNECTOR).keys()
    assert leases("--resource", "az://demo-models", "--principal", principal) == {}
    assert len(leases("--limit", "1")) == 1
    brief = stack.issued(story.key_holder, "--ttl", "1s")["lease_id"]
    assert soon(lambda: brief not in leases("--principal", f"key:{story.key}"), SOON)
    assert brief in leases("--principal", f"key:{story.key}", "--all")


def test_no_secret_is_anywhere(stack: IdentityStack, story: Story) -> None:
    """Neither the broker's log nor the ledger, read by an auditor or right from its table, holds a JWT, an API key,
    a private key or a signature.
    """
    places = {
        "log": stack.log,
        "audit search": json.dumps(stack.events()),
        "table": stack.sql("SELECT * FROM ledger_events"),
        "screen": stack.dev.out + stack.dev.err,
    }
    assert story.tokens.keys() <= set(re.findall(r'"principal": "([^"]+)"', places["audit search"]))
    assert len(stack.shown) > 10
    # A signature as it stands in a URL and as it is; of a JWT the signature alone, too, which an unsigned one has not.
    parts = {part for secret in stack.shown for part in (secret, unquote(secret), secret.rpartition(".")[2]) if part}
    found = [(place, part[:8]) for place, text in places.items() for part in parts if part in text]
    assert found == []


def test_tampering_is_found(stack: IdentityStack, story: Story, tmp_path: Path) -> None:
    """What holds is said to hold; a record that somebody changes in the database is named until it is put right."""
    auditor, heads = stack.auditor(), tmp_path / "heads.json"
    ran = auditor("audit", "verify", "--save-heads", heads)
    assert (ran.code, "The ledger holds: " in ran.out) == (0, True)
    (event,) = stack.events("--lease-id", next(iter(story.tokens.values()))["lease_id"])
    for column, forged, honest in (("principal", "key:nobody", event["principal"]), ("ttl", "1", "600")):
        change = f"UPDATE ledger_events SET {column} = '%s' WHERE id = {event['id']}"  # noqa: S608 (of this test's own)
        stack.sql(change % forged)
        ran = auditor("audit", "verify", "--anchor-file", heads, "-o", "json")
        stack.sql(change % honest)
        assert (ran.code, ran.json["intact"], ran.json["broken_id"]) == (1, False, event["id"])
    assert auditor("audit", "verify", "--anchor-file", heads).code == 0


@pytest.fixture
def _mended(stack: IdentityStack) -> Iterator[None]:
    yield
    postgres = stack.outside.value.postgres
    stack.outside.call(postgres.stop())
    stack.outside.call(postgres.start())


@pytest.mark.usefixtures("_mended")
def test_without_its_ledger_the_broker_issues_nothing(stack: IdentityStack, story: Story) -> None:
    """With PostgreSQL away nothing is issued, and callers are told why; once it is back all goes on by itself, and
    what was on record still holds.
    """
    postgres = stack.outside.value.postgres
    before = stack.events("--principal", f"key:{story.key}", "--kind", "token-issued")
    stack.outside.call(postgres.stop())
    for _ in range(4):
        ran = issue(story.key_holder)
        error = why(ran)
        assert (ran.code, error["reason"], error["code"]) == (5, "LEDGER_UNAVAILABLE", "UNAVAILABLE")
        assert error["metadata"]["cause"] == "database-away"
    name = unique("key")
    assert why(stack.admin("api-key", "create", name, "-o", "json"))["reason"] == "LEDGER_UNAVAILABLE"
    stack.outside.call(postgres.start())
    token = eventually(lambda: issue(story.key_holder)).json
    assert soon(lambda: [issue(story.key_holder).code for _ in range(3)] == [0] * 3, 60)
    after = stack.events("--principal", f"key:{story.key}", "--kind", "token-issued")
    assert [event["id"] for event in after[: len(before)]] == [event["id"] for event in before]
    assert after[len(before)]["lease_id"] == token["lease_id"]
    assert stack.auditor()("audit", "verify").code == 0


def _lines(by: Cli, *arguments: str) -> list[str]:
    return by.done(*arguments, "-o", "json").out.splitlines()
