"""People, pods, workloads and key holders on a whole stack: each is known, and gets what it is granted, and no more."""

import time
from datetime import datetime
from typing import Any

import pytest

from support.e2e import CONNECTOR, DEMO, refused, soon, unique
from support.identity_stack import PARTNER, IdentityStack
from support.oidc import Signer, claims, forge
from support.spiffe import DOMAIN, SpiffeCa
from support.token_commands import SOON, eventually, issue, why

pytestmark = [pytest.mark.xdist_group("e2e-identities"), pytest.mark.unmeasured]
MODELS = "az://demo-models"


def test_operator_registers_and_grants_nothing(stack: IdentityStack) -> None:
    """Somebody known by a JWT, with a role bound by a pattern, registers a connector; grants are the admin's alone."""
    operator, name = stack.pod("ops", "alice"), unique("artifacts")
    ran = stack.register(operator, name)
    assert (ran.code, ran.err) == (0, "")
    assert DEMO in ran.out
    described = eventually(lambda: operator("service-connector", "describe", name, "-o", "json")).json
    assert described["created_by"] == stack.subject("ops", "alice")
    self_service = ("--principal", stack.subject("ops", "*"), "--connector", name, "--container", "*")
    error = why(operator("grant", "create", "mine", *self_service, "--role", "deployer", "-o", "json"))
    assert (error["reason"], error["code"]) == ("ROLE_REQUIRED", "PERMISSION_DENIED")
    assert error["metadata"]["needs"] == "admin"
    assert why(issue(operator, "--connector", name))["reason"] == "RESOURCE_DENIED"
    pod = stack.register(stack.pod(), unique("artifacts"))
    assert (pod.code, pod.out) == (3, "")
    assert "reason ROLE_REQUIRED" in pod.err
    stack.change("service-connector", "delete", name, "--yes", by=operator)


def test_pod_of_the_namespace_works_and_others_learn_nothing(stack: IdentityStack) -> None:
    """A pod with its projected token uploads and lists, by a grant on its namespace; a pod of another one gets
    nothing, and is not told so much as a name.
    """
    everywhere = f"oidc:{stack.issuer.url}#system:serviceaccount:*:*"
    grant = stack.grant(everywhere, "--attribute", "namespace=ml", "--role", "orchestrator")
    stack.settle()
    pod = stack.pod("ml", "trainer")
    token = stack.issued(pod, permissions="read,list,write,create")
    assert (token["grant"], token["connector"]) == (grant, CONNECTOR)
    container = stack.storage(token)
    container.upload_blob("runs/1.txt", b"weights", overwrite=True)
    assert "runs/1.txt" in [blob.name for blob in container.list_blobs()]
    (entry,) = pod.done("service-connector", "list-resources", "-o", "json").json
    assert [resource["resource_id"] for resource in entry["resources"]] == [DEMO]

    stranger = stack.pod("web", "shop")
    errors = [why(issue(stranger, on=resource)) for resource in (DEMO, MODELS, "az://no-such-container")]
    assert {error["reason"] for error in errors} == {"RESOURCE_DENIED"}
    assert (
        len(
            {
                error["message"].replace(resource, "it")
                for error, resource in zip(errors, (DEMO, MODELS, "az://no-such-container"), strict=True)
            }
        )
        == 1
    )
    listed = stranger("service-connector", "list-resources")
    assert listed.code == 0
    assert "no grant lets you use any resource" in listed.err
    for name in (CONNECTOR, "demo-", grant):
        assert name not in listed.out + listed.err
    stack.change("grant", "delete", grant, "--yes")


def test_ready_made_roles(stack: IdentityStack) -> None:
    """Orchestrator and step operator write; a deployer reads. What it may not is refused by the storage service, and
    by the broker before that, which names the missing permission.
    """
    pods = {role: stack.pod("roles", role) for role in ("orchestrator", "step-operator", "deployer")}
    for role in pods:
        stack.grant(stack.subject("roles", role), "--role", role)
    stack.settle()
    for role in ("orchestrator", "step-operator"):
        writer = stack.storage(stack.issued(pods[role], permissions="read,list,write,create,add"))
        writer.upload_blob("models/v1.txt", role.encode(), overwrite=True)
        error = why(issue(pods[role], permissions="read,delete"))
        assert (error["reason"], error["metadata"]["missing"]) == ("RESOURCE_DENIED", "delete")
    reader = stack.storage(stack.issued(pods["deployer"]))
    assert reader.download_blob("models/v1.txt").readall() == b"step-operator"
    assert "models/v1.txt" in [blob.name for blob in reader.list_blobs()]
    assert refused(reader.upload_blob, "models/v2.txt", b"x") == "403 AuthorizationPermissionMismatch"
    error = why(issue(pods["deployer"], permissions="read,write"))
    assert (error["reason"], error["metadata"]["missing"]) == ("RESOURCE_DENIED", "write")


def test_workload_with_its_certificate(stack: IdentityStack) -> None:
    """A workload is known by its certificate, on the port for these; a `*` in a grant ends at the next slash."""
    grant = stack.grant(f"spiffe://{DOMAIN}/ns/ml/sa/*", "--role", "deployer")
    token = stack.issued(stack.workload(stack.ca.issue()))
    assert token["grant"] == grant
    list(stack.storage(token).list_blobs())
    deeper = stack.workload(stack.ca.issue([f"spiffe://{DOMAIN}/ns/ml/sa/trainer/debug"]))
    other = stack.workload(stack.ca.issue([f"spiffe://{DOMAIN}/ns/web/sa/trainer"]))
    assert [why(issue(each))["reason"] for each in (deeper, other)] == ["RESOURCE_DENIED"] * 2


def test_certificates_that_nobody_may_vouch_for(stack: IdentityStack) -> None:
    """A CA the broker does not know, a trust domain it does not know, and the CA of one domain for another: refused."""
    stranger = issue(stack.workload(SpiffeCa().issue()))
    assert (stranger.code != 0, stranger.out) == (True, "")
    unknown = why(issue(stack.workload(stack.ca.issue(["spiffe://evil.example/ns/ml/sa/trainer"]))))
    assert (unknown["reason"], unknown["metadata"]["problem"]) == ("CREDENTIALS_INVALID", "trust-domain")
    forged = why(issue(stack.workload(stack.partner_ca.issue([f"spiffe://{DOMAIN}/ns/ml/sa/trainer"]))))
    assert (forged["reason"], forged["metadata"]["problem"]) == ("CREDENTIALS_INVALID", "chain")
    own = why(issue(stack.workload(stack.partner_ca.issue([f"spiffe://{PARTNER}/ns/ml/sa/trainer"]))))
    assert own["reason"] == "RESOURCE_DENIED"


def test_revoked_key_is_refused_by_every_worker(stack: IdentityStack) -> None:
    """An API key gets what is granted to it; within 5 s of its revocation no worker lets it in any more."""
    name, holder = stack.new_key()
    stack.grant(f"key:{name}", "--role", "step-operator")
    list(stack.storage(stack.issued(holder)).list_blobs())
    stack.change("api-key", "revoke", name, "--yes")
    revoked = time.time()

    def refusing() -> set[str]:
        """Returns the workers that have refused the key."""
        ran = issue(holder)
        if ran.code == 0:
            assert time.time() - revoked < SOON
            return set()
        assert why(ran)["reason"] == "CREDENTIALS_INVALID"
        since = datetime.fromtimestamp(revoked).astimezone().isoformat()
        failed = stack.events("--kind", "authentication-failed", "--since", since)
        return {event["writer"] for event in failed if event["reason"] == "CREDENTIALS_INVALID"}

    assert soon(lambda: len(refusing()) == 2, 60)
    last = stack.events("--principal", f"key:{name}", "--kind", "token-issued")[-1]
    assert datetime.fromisoformat(last["time"]).timestamp() - revoked < SOON


def test_grant_on_a_path(stack: IdentityStack) -> None:
    """A grant with a prefix never gives the whole container; on a flat account its path is refused, not widened."""
    pod = stack.pod("paths", "trainer")
    stack.grant(stack.subject("paths", "trainer"), "--role", "deployer", "--prefix", "models")
    assert soon(lambda: why(issue(pod, on=f"{DEMO}/models/v1/"))["reason"] == "SCOPE_UNSUPPORTED", SOON)
    for resource in (DEMO, f"{DEMO}/models-evil", f"{DEMO}/other"):
        error = why(issue(pod, on=resource))
        assert error["reason"] == "RESOURCE_DENIED", resource
    assert stack.events("--principal", stack.subject("paths", "trainer"), "--kind", "token-issued") == []


def test_grant_that_binds_addresses_and_ends(stack: IdentityStack) -> None:
    """The grant's address stands signed in every token, and cannot be asked away; no token outlives the grant."""
    pod, principal = stack.pod("bound", "trainer"), stack.subject("bound", "trainer")
    bound = stack.grant(principal, "--role", "deployer", "--source-ip", "192.0.2.0-192.0.2.9")
    assert "&sip=192.0.2.0-192.0.2.9&" in stack.issued(pod)["sas_token"]
    assert "&sip=192.0.2.7&" in stack.issued(pod, "--source-ip", "192.0.2.7")["sas_token"]
    assert why(issue(pod, "--source-ip", "192.0.2.10"))["reason"] == "RESOURCE_DENIED"
    stack.change("grant", "delete", bound, "--yes")

    began = time.time()
    stack.grant(principal, "--role", "deployer", "--expires", "12s", "--max-ttl", "1h")
    granted = time.time()  # The command counts from when it runs, which a busy machine puts off.
    stack.settle()
    token = stack.issued(pod, "--ttl", "30m")
    ends = datetime.fromisoformat(token["expire_time"]).timestamp()
    assert began < ends <= granted + 13
    assert "sip=" not in token["sas_token"]
    assert soon(lambda: issue(pod).code == 3 and time.time() > ends, 12 + SOON)
    assert refused(lambda: list(stack.storage(token).list_blobs())).startswith("403")


def test_explain(stack: IdentityStack) -> None:
    """Why, and why not, and what would work: for oneself with the own grants only, for others by operators."""
    pod, principal = stack.pod("asking", "trainer"), stack.subject("asking", "trainer")
    own = stack.grant(principal, "--role", "deployer")
    foreign = stack.grant(stack.subject("other", "*"), "--role", "orchestrator")
    stack.settle()

    def explain(permissions: str, *options: str, by: Any = pod) -> Any:
        ran = by("grant", "explain", "--resource", DEMO, "--permissions", permissions, *options, "-o", "json")
        return (ran.code, ran.json) if ran.out else (ran.code, why(ran)["reason"])

    code, said = explain("read")
    assert (code, said["allowed"], said["grant"]) == (0, True, own)
    code, said = explain("read,delete")
    assert (code, said["allowed"]) == (3, False)
    assert [finding["grant"] for finding in said["findings"]] == [own]
    assert "delete" in said["findings"][0]["reasons"][0]
    assert "read" in said["nearest"]
    assert foreign not in str(said)
    assert explain("read", "--principal", stack.subject("other", "trainer")) == (3, "ROLE_REQUIRED")
    operator = stack.pod("ops", "alice")
    code, said = explain("write", "--principal", stack.subject("other", "trainer"), by=operator)
    assert (code, said["grant"]) == (0, foreign)
    assert explain("write", "--principal", principal, by=operator)[0] == 3


def test_grants_do_not_follow_a_new_connector(stack: IdentityStack) -> None:
    """A connector that was deleted and made anew under its name is another one: the old grant does not hold for it."""
    operator, pod, name = stack.pod("ops", "alice"), stack.pod("loyal", "trainer"), unique("artifacts")
    assert stack.register(operator, name).code == 0
    grant = stack.grant(stack.subject("loyal", "trainer"), "--role", "deployer", connector=name)
    stack.issued(pod)
    stack.change("service-connector", "delete", name, "--yes", by=operator)
    new = eventually(lambda: stack.register(operator, name, "-o", "json")).json["connector"]["id"]

    def denied() -> bool:
        return bool(why(issue(pod))["reason"] == "RESOURCE_DENIED")

    stack.settle()  # Who has not heard of it yet may have a key of the old one in memory, and issue.
    assert soon(lambda: all(denied() for _ in range(4)), SOON)
    stack.change("grant", "update", grant, "--connector", f"{name}={new}")
    stack.issued(pod)


def test_tokens_that_prove_nothing(stack: IdentityStack) -> None:
    """Unsigned, forged, expired, or made for somebody else: refused with what is wrong, whatever they claim to be."""
    stack.grant(stack.subject("strict", "trainer"), "--role", "deployer")
    mine = stack.claims("strict", "trainer")
    stack.issued(stack.bearer(stack.issuer.mint(**mine)))
    full = claims(**{"iss": stack.issuer.url, **mine})
    cases = {
        forge(full, {"alg": "none", "kid": stack.issuer.signers[0].kid}): "algorithm",
        stack.issuer.mint(Signer(stack.issuer.signers[0].kid, which=7), **mine): "signature",
        stack.issuer.mint(Signer("other", which=7), **mine): "key",
        stack.issuer.mint(**mine, aud=["vault"]): "audience",
    }
    for token, problem in cases.items():
        error = why(issue(stack.bearer(token)))
        assert (error["reason"], error["metadata"]["problem"]) == ("CREDENTIALS_INVALID", problem)
    expired = why(issue(stack.bearer(stack.issuer.mint(**mine, exp=int(time.time()) - 60))))
    assert expired["reason"] == "CREDENTIALS_EXPIRED"


def test_issuer_rotates_its_keys(stack: IdentityStack) -> None:
    """Tokens of a new key work as soon as it is shown, and those of the old one go on while it is."""
    stack.grant(stack.subject("rotated", "trainer"), "--role", "deployer")
    old, kept = stack.pod("rotated", "trainer"), stack.issuer.signers
    stack.issued(old)
    stack.issuer.signers = [Signer(unique("kid"), which=1), *kept]
    new = stack.pod("rotated", "trainer")
    for pod in (new, old, new, old):
        stack.issued(pod)
    stack.issuer.signers = kept
