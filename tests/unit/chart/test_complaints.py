"""What users of other charts complained of, each with a test that this one has not got it; and a few like it."""

import json
from typing import Any

import pytest
import yaml

from support.chart import (
    CHART,
    LEAST,
    MATRIX,
    POSTGRES,
    broker_toml,
    containers,
    merged,
    of_kind,
    pods,
    rendered,
    texts,
    the,
)


def deployment(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the Deployment's specification."""
    found: dict[str, Any] = the(rendered(values), "Deployment")["spec"]
    return found


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_no_hook_but_the_test(values: dict[str, Any]) -> None:
    """A migration in a hook waits for pods that wait for it (`--wait`, Argo, Flux), or for a Secret not yet made."""
    made = rendered(values)
    hooked = {each["kind"] for each in made if "helm.sh/hook" in each["metadata"].get("annotations", {})}
    assert hooked == {"Pod"}
    first = deployment(values)["template"]["spec"]["initContainers"][-1]
    assert first["args"][0] == "migrate"
    assert not of_kind(made, "Job")


def test_the_owners_url_is_the_migrations_alone() -> None:
    """The role that may change the ledger is not within the serving container's reach."""
    spec = deployment(POSTGRES)["template"]["spec"]
    first, serving = spec["initContainers"][-1], spec["containers"][0]
    assert first["args"] == ["migrate", "--grant-to", "valetkey"]
    assert {"name": "VALETKEY_BROKER_LEDGER__URL_FILE", "value": "/etc/valetkey/ledger-owner/url"} in first["env"]
    assert "ledger-owner" in str(first)
    assert "ledger-owner" not in str(serving)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_migrating_has_the_database_and_nothing_else(values: dict[str, Any]) -> None:
    """A container that changes the ledger needs no login to Vault, no token of the pod's, and not the server's key."""
    first = deployment(values)["template"]["spec"]["initContainers"][-1]
    mounted = {mount["name"] for mount in first["volumeMounts"]}
    owned = merged(values, LEAST).get("ledger", {})
    database = {"ledger-owner", "ledger-ca"} if owned.get("migration") else {"ledger"}
    assert mounted == {"config", "tmp", *database}


def test_migrating_with_a_client_certificate() -> None:
    """What the database asks for besides can be mounted there, too."""
    mount = {"name": "client", "mountPath": "/etc/valetkey/client", "readOnly": True}
    given = merged(
        {"ledger": {"migration": {"extraVolumeMounts": [mount]}}, "extraVolumes": [{"name": "client", "emptyDir": {}}]},
        POSTGRES,
    )
    assert mount in deployment(given)["template"]["spec"]["initContainers"][-1]["volumeMounts"]


def test_every_pod_has_the_one_security_context() -> None:
    """The test's pod, or an empty context by default, is what restricted namespaces refuse."""
    given = rendered({"securityContext": {"runAsUser": 20000}, "podSecurityContext": {"fsGroup": 20000}})
    found = list(pods(given))
    assert len(found) == 2
    for _, pod, _ in found:
        assert (pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsNonRoot"]) == (20000, True)
        for container in containers(pod):
            assert container["securityContext"]["runAsUser"] == 20000
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({}, None),
        ({**POSTGRES, "replicaCount": 1}, None),
        ({**POSTGRES, "replicaCount": 2}, {"maxUnavailable": 1}),
        ({**POSTGRES, "autoscaling": {"enabled": True, "minReplicas": 1}}, None),
        ({**POSTGRES, "autoscaling": {"enabled": True}}, {"maxUnavailable": 1}),
        (
            {**POSTGRES, "replicaCount": 3, "podDisruptionBudget": {"minAvailable": "50%", "maxUnavailable": ""}},
            {"minAvailable": "50%"},
        ),
        ({**POSTGRES, "replicaCount": 3, "podDisruptionBudget": {"enabled": False}}, None),
    ],
)
def test_a_budget_never_blocks_a_drain(values: dict[str, Any], budget: dict[str, Any] | None) -> None:
    """A budget over a single pod stops every drain of its node; pods that are not ready may always go."""
    found = of_kind(rendered(values), "PodDisruptionBudget")
    if budget is None:
        assert found == []
    else:
        (each,) = found
        assert budget.items() <= each["spec"].items()
        assert len(each["spec"].keys() & {"minAvailable", "maxUnavailable"}) == 1
        assert each["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_changed_settings_make_new_pods() -> None:
    """Pods that go on with the old settings; what does not change them must not restart them, either."""
    sums = [
        deployment(values)["template"]["metadata"]["annotations"]["checksum/config"]
        for values in ({}, {"config": {"logging": {"level": "debug"}}}, {"service": {"annotations": {"a": "1"}}})
    ]
    assert sums[0] != sums[1]
    assert sums[0] == sums[2]


def test_as_a_part_of_another_chart() -> None:
    """A strict schema must take `global`, whatever is in it, and the `enabled` of a parent's condition."""
    made = rendered({"enabled": True, "global": {"other": {"anything": 1}, "imageRegistry": "mirror.example.com"}})
    assert len(made) > 5


@pytest.mark.parametrize("namespace", ["", "monitoring"])
def test_monitoring_is_made_when_it_is_wanted(namespace: str) -> None:
    """`enabled` is enough: no silent look for a CRD that `helm template` cannot see; in whichever namespace."""
    in_place = {"enabled": True, "namespace": namespace}
    made = rendered(
        {"metrics": {"enabled": True}, "serviceMonitor": {**in_place, "additionalLabels": {"release": "p"}}}
    )
    monitor = the(made, "ServiceMonitor")
    assert monitor["metadata"]["namespace"] == (namespace or "valetkey")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["valetkey"]}
    (service,) = [
        each
        for each in of_kind(made, "Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert not of_kind(rendered({}), "ServiceMonitor")


def test_alerts_and_dashboard_come_as_they_are() -> None:
    """The braces in alerts are Prometheus' templates, not Helm's; the dashboard is found by its label."""
    made = rendered({**MATRIX["monitored"], "prometheusRule": {"enabled": True, "additionalLabels": {"release": "p"}}})
    rule = the(made, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "p"
    (shown,) = [each for each in of_kind(made, "ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    assert json.loads(shown["data"]["valetkey.json"]) == json.loads((CHART / "files" / "dashboard.json").read_text())


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "valetkey-broker:0.1.0"),
        ({"image": {"registry": "r.example.com", "tag": "2"}}, "r.example.com/valetkey-broker:2"),
        (
            {"global": {"imageRegistry": "mirror.example.com"}, "image": {"registry": "r.example.com"}},
            "mirror.example.com/valetkey-broker:0.1.0",
        ),
        ({"image": {"digest": "sha256:" + "a" * 64, "tag": "2"}}, "valetkey-broker@sha256:" + "a" * 64),
    ],
)
def test_the_registry_is_said_in_one_place(values: dict[str, Any], image: str) -> None:
    """A mirror, a tag or a digest counts for every container, the test's too."""
    made = rendered(values)
    assert {container["image"] for _, pod, _ in pods(made) for container in containers(pod)} == {image}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_updates_with_other_values_than_the_recommended(values: dict[str, Any]) -> None:
    """What Kubernetes never lets change, the selector, hangs on the release's name alone: not on version or values."""
    changed = merged({"commonLabels": {"new": "1"}, "image": {"tag": "9"}, "podLabels": {"b": "2"}}, values)
    assert deployment(values)["selector"] == deployment(changed)["selector"]
    assert "version" not in str(deployment(values)["selector"])


@pytest.mark.parametrize("name", ["y", "no", "1e3", "123", "a" * 53])
def test_names_that_yaml_takes_for_something_else(name: str) -> None:
    """A release called y, no or 1e3: its labels stay texts, and its Service has a name that begins with a letter."""
    made = rendered(MATRIX["everything"], name=name)
    for each in made:
        for kind in ("labels", "annotations"):
            assert all(isinstance(value, str) for value in each["metadata"].get(kind, {}).values())
        assert each["metadata"]["name"][0].isalpha() or each["metadata"]["name"].endswith("-extra")
        assert len(each["metadata"]["name"]) <= 63
    selector = the(made, "Deployment")["spec"]["selector"]["matchLabels"]
    assert selector["app.kubernetes.io/instance"] == name


def test_the_ledger_decides_how_pods_are_replaced() -> None:
    """Two pods must never write one SQLite file; with PostgreSQL no update is without a pod that serves."""
    assert deployment({})["strategy"] == {"type": "Recreate"}
    assert deployment(POSTGRES)["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    claim = the(rendered({}), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(rendered(POSTGRES), "PersistentVolumeClaim")


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("https://vault.example.com", 443),
        ("https://vault.example.com:8300", 8300),
        ("https://vault.example.com:8300/", 8300),
        ("https://gateway.example.com:8300/vault", 8300),
        ("https://[fd00::8300]", 443),
        ("https://[fd00::1]:8300", 8300),
    ],
)
def test_the_way_to_vault_is_open(address: str, port: int) -> None:
    """Behind a gateway Vault has a path, and its port is no less needed."""
    policy = the(rendered({"vault": {"address": address}}), "NetworkPolicy")["spec"]
    assert {each["port"] for each in policy["egress"][1]["ports"]} == {443, 6443, port}


@pytest.mark.parametrize("name", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_probe_that_is_null_is_left_out(name: str) -> None:
    """As null does with everything that Helm has a default for; the others stay."""
    container = deployment({name: None})["template"]["spec"]["containers"][0]
    every = {"startupProbe", "livenessProbe", "readinessProbe"}
    assert every & container.keys() == every - {name}


@pytest.mark.parametrize(("given", "own"), [(10, "9"), (2, "1"), (1, "0.5"), (None, "0.5")])
def test_a_probe_has_time_to_ask(given: int | None, own: str) -> None:
    """With one second, Kubernetes' own default, a probe that asked for no time at all would fail each time."""
    probe = {"timeoutSeconds": given, "periodSeconds": 30}
    command = deployment({"livenessProbe": probe})["template"]["spec"]["containers"][0]["livenessProbe"]["exec"]
    assert command["command"] == ["valetkey-broker", "health", "--timeout", own, "--live"]


def test_tokens_are_for_who_reads_them() -> None:
    """The API server gets a token of its own audience, and Vault one that is for Vault alone."""
    spec = deployment({})["template"]["spec"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "identity"]
    tokens = [source.get("serviceAccountToken") for source in volume["projected"]["sources"]]
    audiences = {token["path"]: token.get("audience") for token in tokens if token}
    assert audiences == {"api-token": None, "vault-token": "vault"}
    assert 'bearer_token_file = "/var/run/secrets/valetkey/api-token"' in broker_toml(rendered({}))


def test_notes_name_three_commands() -> None:
    """After an installing one reads what to do next, with the names of this release."""
    notes = texts({}, name="prod", namespace="keys")["NOTES.txt"]
    commands = [line.strip() for line in notes.splitlines() if line.startswith("  ")]
    assert [command.split()[0] for command in commands] == ["kubectl", "helm", "kubectl"]
    assert all("keys" in command for command in commands)
    assert "valetkey-broker bootstrap" in commands[2]


def test_every_value_is_in_the_schema() -> None:
    """A value that the schema does not know would be refused, and one that it knows would do nothing."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: Any, known: Any, place: str) -> None:
        if isinstance(values, dict) and known.get("additionalProperties") is False:
            assert values.keys() == known["properties"].keys(), place
            for name, value in values.items():
                compare(value, known["properties"][name], f"{place}.{name}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")
    assert schema["properties"]["config"] == {"$ref": "#/$defs/Settings"}
    assert LEAST["vault"]["address"]
