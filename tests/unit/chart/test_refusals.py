"""Values that cannot be meant are refused before anything is made, with a sentence that says what was expected."""

from typing import Any

import pytest
from helm_python.errors import HelmError

from support.chart import POSTGRES, merged, rendered

_CERTIFICATE = {"tls": {"certificate": {"enabled": True, "issuerRef": {"name": "ca"}}}}
_NO_SECRET = {"tls": {"existingSecret": ""}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"vault": {"address": ""}}, "vault.address is missing: give the address of your Vault"),
        ({"vault": {"address": "http://vault:8200"}}, "speaks to Vault over TLS only; expected https://HOST:PORT"),
        ({"vault": {"address": "https://root:planted@vault:8200"}}, "vault.address holds a user or a password"),
        ({"vault": {"address": "http://root:planted@vault:8200"}}, "vault.address holds a user or a password"),
        ({"metrics": {"enabled": True, "port": 8443}}, "metrics.port is 8443, where the broker serves its callers"),
        (
            {"callers": {"mtls": {"enabled": True, "port": 8443, "trustDomains": {"x": {"existingConfigMap": "x"}}}}},
            "callers.mtls.port is 8443, which the broker or its metrics have already",
        ),
        (
            {"callers": {"mtls": {"enabled": True, "trustDomains": {"../../tls": {"existingConfigMap": "x"}}}}},
            "callers.mtls.trustDomains.../../tls is no trust domain",
        ),
        (_NO_SECRET, "the broker serves over TLS only: give tls.existingSecret"),
        (_CERTIFICATE, "tls.existingSecret and tls.certificate.enabled are both given"),
        (
            {"tls": {"existingSecret": "", "certificate": {"enabled": True}}},
            "tls.certificate.issuerRef.name is",
        ),
        (
            {"vault": {"ca": {"existingConfigMap": "a", "existingSecret": "b"}}},
            "vault.ca.existingConfigMap and vault.ca.existingSecret are both given",
        ),
        ({"vault": {"auth": {"method": "approle"}}}, "needs a secret with the role id and the secret id"),
        ({"vault": {"auth": {"role": ""}}}, "vault.auth.role is missing: the method kubernetes logs in for a role"),
        (
            {"replicaCount": 2},
            "replicaCount is 2: more than one pod needs ledger.type=postgres, for a SQLite",
        ),
        ({"autoscaling": {"enabled": True}}, "autoscaling needs ledger.type=postgres"),
        ({"ledger": {"type": "postgres"}}, "put the URL, with its password, into a secret, and name that"),
        ({"ledger": {"postgres": {"existingSecret": "a"}}}, "two ledgers: ledger.type is sqlite, and a secret for"),
        (
            merged({"autoscaling": {"enabled": True, "minReplicas": 7}}, POSTGRES),
            "autoscaling.minReplicas is over autoscaling.maxReplicas",
        ),
        ({"callers": {"mtls": {"enabled": True}}}, "callers.mtls.trustDomains is empty"),
        ({"serviceMonitor": {"enabled": True}}, "serviceMonitor.enabled without metrics.enabled: there is nothing"),
        ({"podDisruptionBudget": {"minAvailable": 1}}, "minAvailable and maxUnavailable are both given"),
        ({"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 0}}, "minAvailable and maxUnavailable are both"),
        (
            {"config": {"ledger": {"url": "postgresql://vk:planted@db/vk"}}},
            "config.ledger.url is the chart's own to say; use ledger.postgres.existingSecret",
        ),
        ({"config": {"server": {"port": 1}}}, "config.server.port is the chart's own to say; use service.port"),
        ({"config": {"vault": {"address": "https://x"}}}, "config.vault.address is the chart's own to say; use vault"),
    ],
)
def test_sentences(values: dict[str, Any], said: str) -> None:
    """What does not go together is said in the words of the values, and no password is repeated."""
    with pytest.raises(HelmError) as caught:
        rendered(values)
    assert said in str(caught.value)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"replicaCount": -1}, "/replicaCount"),
        ({"replicaCount": "two"}, "/replicaCount"),
        ({"replicas": 2}, "replicas"),
        ({"service": {"port": 99999}}, "/service/port"),
        ({"service": {"prot": 1}}, "prot"),
        ({"ledger": {"type": "mysql"}}, "/ledger/type"),
        ({"ledger": {"sqlite": {"accessModes": ["ReadWriteMany"]}}}, "/ledger/sqlite/accessModes"),
        ({"ledger": {"sqlite": {"size": "lots"}}}, "/ledger/sqlite/size"),
        ({"ledger": {"postgres": {"url": "postgresql://u:p@db/vk"}}}, "url"),
        ({"image": {"digest": "sha256:short"}}, "/image/digest"),
        ({"tls": {"existingSecret": "Not A Name"}}, "/tls/existingSecret"),
        ({"podAnnotations": {"a": 1}}, "/podAnnotations"),
        ({"resources": {"limits": {"memory": "much"}}}, "/resources/limits/memory"),
        ({"config": {"servr": {}}}, "servr"),
        ({"config": {"issuing": {"max_ttl": 1}}}, "max_ttl"),
        ({"config": {"limits": {"streams": "many"}}}, "/config/limits/streams"),
        ({"vault": {"auth": {"method": "ldap"}}}, "/vault/auth/method"),
    ],
)
def test_types(values: dict[str, Any], place: str) -> None:
    """Unknown names and wrong kinds of values, the broker's own settings included, are refused with their place."""
    with pytest.raises(HelmError, match="don't meet the specifications of the schema") as caught:
        rendered(values)
    assert place in str(caught.value)
