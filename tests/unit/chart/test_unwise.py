"""Values that Kubernetes would take and an operator would be sorry for: refused, in a sentence that says what to do."""

from typing import Any

import pytest
from helm_python.errors import HelmError

from support.chart import POSTGRES, merged, of_kind, pods, rendered, texts

FLEET = {**POSTGRES, "replicaCount": 2}


def refused(values: dict[str, Any]) -> str:
    """Returns the words of the refusal, which repeat no secret."""
    with pytest.raises(HelmError) as caught:
        rendered(values)
    assert "planted" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"securityContext": {"privileged": True}}, "securityContext: privileged is true"),
        ({"securityContext": {"allowPrivilegeEscalation": True}}, "securityContext: allowPrivilegeEscalation is true"),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "capabilities.add has NET_ADMIN"),
        ({"securityContext": {"capabilities": {"drop": []}}}, "securityContext: capabilities.drop lacks ALL"),
        ({"securityContext": {"procMount": "Unmasked"}}, "procMount is Unmasked"),
        ({"podSecurityContext": {"runAsUser": 0}}, "podSecurityContext: runAsUser is 0"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "podSecurityContext: runAsNonRoot is false"),
        ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile.type is Unconfined"),
        (
            {"extraContainers": [{"name": "side", "securityContext": {"privileged": True}}]},
            "extraContainers: side: securityContext: privileged is true",
        ),
        (
            {"extraInitContainers": [{"name": "first", "securityContext": {"allowPrivilegeEscalation": True}}]},
            "extraInitContainers: first: securityContext: allowPrivilegeEscalation is true",
        ),
    ],
)
def test_pods_are_restricted_unless_somebody_says_otherwise(values: dict[str, Any], said: str) -> None:
    """Rights that a broker does not need are refused, and taken where they are asked for by name."""
    words = refused(values)
    assert said in words
    assert "or set allowUnrestrictedPods=true" in words
    assert list(pods(rendered({**values, "allowUnrestrictedPods": True})))


def test_what_the_restricted_profile_takes() -> None:
    """Another user, an extra container's own hard context and the one capability that the profile lets through."""
    given = {
        "podSecurityContext": {"runAsUser": 20000, "seccompProfile": {"type": "Localhost", "localhostProfile": "vk"}},
        "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
        "extraContainers": [{"name": "side", "securityContext": {"allowPrivilegeEscalation": False}}],
    }
    assert list(pods(rendered(given)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"maxUnavailable": 0}, "maxUnavailable is 0: no pod could ever be evicted"),
        ({"maxUnavailable": "0%"}, "maxUnavailable is 0%: no pod could ever be evicted"),
        ({"maxUnavailable": "", "minAvailable": 2}, "minAvailable is 2, which is all of 2 pods"),
        ({"maxUnavailable": "", "minAvailable": "100%"}, "minAvailable is 100%, which is all of 2 pods"),
        ({"maxUnavailable": "", "minAvailable": "51%"}, "minAvailable is 51%, which is all of 2 pods"),
        ({"maxUnavailable": ""}, "minAvailable and maxUnavailable are both empty"),
    ],
)
def test_a_budget_that_blocks_every_drain(values: dict[str, Any], said: str) -> None:
    """A node that can never be drained holds up its cluster; shares of pods are rounded up, as Kubernetes does."""
    assert said in refused(merged({"podDisruptionBudget": values}, FLEET))
    off = merged({"podDisruptionBudget": {**values, "enabled": False}}, FLEET)
    assert not of_kind(rendered(off), "PodDisruptionBudget")


def test_a_budget_counts_the_fewest_pods_of_an_autoscaler() -> None:
    """It is there at night, too, when the fewest pods run."""
    scaled = {"autoscaling": {"enabled": True, "minReplicas": 3}, **POSTGRES}
    kept = {"podDisruptionBudget": {"maxUnavailable": "", "minAvailable": 2}}
    assert of_kind(rendered(merged(kept, scaled)), "PodDisruptionBudget")
    kept["podDisruptionBudget"]["minAvailable"] = 3
    assert "is all of 3 pods" in refused(merged(kept, scaled))


@pytest.mark.parametrize(
    "variable",
    [
        {"name": "AZURE_CLIENT_SECRET", "value": "planted"},
        {"name": "DB_PASSWORD", "value": "planted"},
        {"name": "PGPASSWORD", "value": "planted"},
        {"name": "apiKey", "value": "planted"},
        {"name": "AZURE_STORAGE_CONNECTION_STRING", "value": "planted"},
        {"name": "HTTPS_PROXY", "value": "http://me:planted@proxy:3128"},
    ],
    ids=lambda each: each["name"],
)
@pytest.mark.parametrize("where", ["extraEnv", "extraContainers", "extraInitContainers"])
def test_a_secret_in_plain_sight(variable: dict[str, str], where: str) -> None:
    """Values are in the release's history and in the pod's specification, which more people read than secrets."""
    given = [variable] if where == "extraEnv" else [{"name": "side", "env": [variable]}]
    words = refused({where: given})
    assert f"{variable['name']} looks like a secret" in words
    assert "give valueFrom.secretKeyRef instead of value" in words


def test_environment_that_is_no_secret() -> None:
    """A reference, the place of a file, and what only sounds like it."""
    reference = {"secretKeyRef": {"name": "azure", "key": "secret"}}
    given = [
        {"name": "AZURE_CLIENT_SECRET", "valueFrom": reference},
        {"name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/var/run/token"},
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "VALETKEY_BROKER_LOGGING__LEVEL", "value": "debug"},
    ]
    assert "AZURE_FEDERATED_TOKEN_FILE" in texts({"extraEnv": given})["deployment.yaml"]


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"callers": {"kubernetes": {"issuer": "http://kubernetes.default.svc"}}}, "callers.kubernetes.issuer"),
        ({"callers": {"kubernetes": {"jwksUri": "HTTP://keys"}}}, "callers.kubernetes.jwksUri"),
        (
            {"config": {"authn": {"oidc": [{"issuer": "http://login.example.com", "audience": "vk"}]}}},
            "config.authn.oidc[0].issuer",
        ),
    ],
)
def test_an_issuer_without_tls(values: dict[str, Any], where: str) -> None:
    """Its keys decide who is who."""
    words = refused(values)
    assert f"{where} is " in words
    assert "expected https://" in words


@pytest.mark.parametrize(
    ("values", "fine"),
    [
        ({}, True),
        ({"config": {"server": {"grace_seconds": 25}}}, False),
        ({"config": {"server": {"grace_seconds": 25}}, "terminationGracePeriodSeconds": 31}, True),
        ({"preStopSeconds": 20}, False),
        ({"terminationGracePeriodSeconds": 15}, False),
    ],
)
def test_a_pod_has_the_time_to_end(values: dict[str, Any], fine: bool) -> None:
    """Killed amid its calls, a broker leaves callers to guess what became of them."""
    if fine:
        assert list(pods(rendered(values)))
    else:
        assert "a pod would be killed while calls are under way" in refused(values)
