"""The chart as Helm renders it, value sets to render it with, and the cluster that it expects."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "valetkey"
Objects = list[dict[str, Any]]

LEAST: dict[str, Any] = {"vault": {"address": "https://vault.example.com:8200"}, "tls": {"existingSecret": "tls"}}
POSTGRES: dict[str, Any] = {
    "ledger": {
        "type": "postgres",
        "postgres": {"existingSecret": "ledger", "ca": {"existingConfigMap": "ledger-ca"}},
        "migration": {"existingSecret": "ledger-owner", "grantTo": "valetkey"},
    }
}
# By name: what people set, each over LEAST.
MATRIX: dict[str, dict[str, Any]] = {
    "least": {},
    "fleet": {**POSTGRES, "replicaCount": 3, "workers": 2},
    "autoscaled": {**POSTGRES, "autoscaling": {"enabled": True}},
    "certificate": {
        "tls": {
            "existingSecret": "",
            "certificate": {"enabled": True, "issuerRef": {"name": "ca"}, "dnsNames": ["vk.example.com"]},
        }
    },
    "jwt": {"vault": {"auth": {"method": "jwt", "mount": "clusters/one"}, "namespace": "team-a/ml"}},
    "approle": {
        "vault": {
            "ca": {"existingConfigMap": "vault-ca"},
            "auth": {"method": "approle", "approle": {"existingSecret": "vault-login"}},
        },
        "callers": {"kubernetes": {"enabled": False}},
    },
    "monitored": {
        "metrics": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "grafanaDashboard": {"enabled": True},
    },
    "everything": {
        **POSTGRES,
        "commonLabels": {"team": "ml", "on": "yes"},
        "global": {"imageRegistry": "mirror.example.com", "imagePullSecrets": ["pull"]},
        "imagePullSecrets": [{"name": "pull-too"}],
        "image": {"digest": "sha256:" + "0" * 64},
        "replicaCount": 2,
        "service": {"type": "LoadBalancer", "nodePort": 30443, "loadBalancerSourceRanges": ["10.0.0.0/8"]},
        "vault": {"ca": {"existingSecret": "vault-ca"}},
        "callers": {"mtls": {"enabled": True, "trustDomains": {"example.org": {"existingConfigMap": "trust"}}}},
        "config": {
            "server": {"grace_seconds": 20},
            "authn": {
                "oidc": [{"issuer": "https://login.example.com/v2.0", "audience": "app"}],
                "roles": [{"role": "admin", "principals": ["oidc:https://login.example.com/v2.0#me"]}],
            },
            "clouds": {"azure-public": {"implicit_sources": ["workload-identity"]}},
        },
        "serviceAccount": {"annotations": {"azure.workload.identity/client-id": "1"}},
        "podLabels": {"azure.workload.identity/use": "true"},
        "podAnnotations": {"a": "1"},
        "podSecurityContext": {"fsGroup": 2000},
        "networkPolicy": {
            "ingress": {"from": [{"namespaceSelector": {}}]},
            "egress": {"extra": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
        },
        "priorityClassName": "high",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "extraEnv": [{"name": "A", "value": "1"}],
        "extraVolumes": [{"name": "extra", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra"}],
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}],
    },
}
# What an operator makes beforehand, besides what every namespace has.
SECRETS = {
    "tls": ("tls.crt", "tls.key"),
    "ledger": ("url",),
    "ledger-owner": ("url",),
    "vault-login": ("role-id", "secret-id"),
    "vault-ca": ("ca.crt",),
    "pull": (".dockerconfigjson",),
    "pull-too": (".dockerconfigjson",),
}
CONFIG_MAPS = {
    "kube-root-ca.crt": ("ca.crt",),
    "vault-ca": ("ca.crt",),
    "ledger-ca": ("ca.crt",),
    "trust": ("bundle.pem",),
}


class _AsKubernetesReads(yaml.SafeLoader):
    """YAML 1.1 in full: what is not quoted may be a boolean or a number."""


_AsKubernetesReads.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN"))
_AsKubernetesReads.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[0-9]+[eE][-+]?[0-9]+$"), list("0123456789")
)
_AsKubernetesReads.bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


def merged(over: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with the values of `over` in it, as Helm merges files of values."""
    both = {**base, **over}
    for name in base.keys() & over.keys():
        if isinstance(base[name], dict) and isinstance(over[name], dict):
            both[name] = merged(over[name], base[name])
    return both


@functools.cache
def chart() -> Chart:
    """Returns the chart, loaded once."""
    return Chart.load(CHART)


def texts(values: Mapping[str, Any], *, name: str = "vk", namespace: str = "valetkey") -> dict[str, str]:
    """Returns what each template makes of the least values with `values` over them."""
    found = chart().render(merged(values, LEAST), name=name, namespace=namespace)
    return {path.removeprefix("valetkey/templates/"): text for path, text in found.items()}


def rendered(values: Mapping[str, Any], *, name: str = "vk", namespace: str = "valetkey") -> Objects:
    """Returns the objects, read as Kubernetes reads them."""
    found = texts(values, name=name, namespace=namespace)
    documents = [text for path, text in found.items() if path != "NOTES.txt"]
    return [each for text in documents for each in yaml.load_all(text, Loader=_AsKubernetesReads) if each]


def of_kind(objects: Objects, kind: str) -> Objects:
    """Returns the objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def the(objects: Objects, kind: str) -> dict[str, Any]:
    """Returns the one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def pods(objects: Objects) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Gives each pod's name, specification and labels."""
    for each in objects:
        pod = each if each["kind"] == "Pod" else each["spec"]["template"] if each["kind"] == "Deployment" else None
        if pod is not None:
            yield each["metadata"]["name"], pod["spec"], pod["metadata"]["labels"]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns all containers of a pod, those that run first too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def broker_toml(objects: Objects) -> str:
    """Returns the broker's settings."""
    (found,) = [
        each["data"]["broker.toml"] for each in of_kind(objects, "ConfigMap") if "broker.toml" in each.get("data", {})
    ]
    return str(found)
