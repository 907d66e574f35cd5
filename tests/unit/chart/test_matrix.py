"""What the chart makes of many sets of values: whole, hardened, of the right shape, with settings that brokers take.

A shape check alone lets pass what an API server refuses: a selector beside its labels, a port that nothing has.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from support.chart import (
    CHART,
    CONFIG_MAPS,
    LEAST,
    MATRIX,
    SECRETS,
    Objects,
    broker_toml,
    containers,
    merged,
    of_kind,
    pods,
    rendered,
    the,
)
from valetkey_broker.cli.configuration_check import print_configuration
from valetkey_devstack.ca import make_ca

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
VERSIONS = ["1.30", "1.34", "1.37"]
# Of others: no schema comes with Kubernetes.
CUSTOM = {"Certificate", "ServiceMonitor", "PrometheusRule"}
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?")
_VOLUMES = {"configMap", "secret", "projected", "emptyDir", "persistentVolumeClaim"}


@pytest.fixture(scope="module", params=MATRIX)
def objects(request: pytest.FixtureRequest) -> Objects:
    return rendered(MATRIX[request.param])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the files of secrets and config maps hold, by key."""
    folder = tmp_path_factory.mktemp("certificates")
    certificate, key = make_ca(folder).issue("broker", folder)
    ca = (folder / "ca.pem").read_text()
    url = "postgresql://vk:planted@127.0.0.1:1/vk?sslmode=verify-full"
    return {"tls.crt": certificate.read_text(), "tls.key": key.read_text(), "ca.crt": ca, "bundle.pem": ca, "url": url}


@pytest.mark.parametrize("version", VERSIONS)
def test_shapes(objects: Objects, version: str) -> None:
    """Every object has the fields of its kind and no others, in the oldest, a middle and the newest Kubernetes."""
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_selectors_and_labels(objects: Objects) -> None:
    """Whatever selects pods selects those that serve, and neither the test's pod nor another release's."""
    serving = the(objects, "Deployment")["spec"]
    (labels,) = [labels for name, _, labels in pods(objects) if name == the(objects, "Deployment")["metadata"]["name"]]
    (other,) = [labels for name, _, labels in pods(objects) if name.endswith("-test-health")]
    selectors = [serving["selector"]["matchLabels"]]
    selectors += [each["spec"]["selector"] for each in of_kind(objects, "Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of_kind(objects, "PodDisruptionBudget")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(objects, "NetworkPolicy")]
    selectors += [
        each["labelSelector"]["matchLabels"] for each in serving["template"]["spec"]["topologySpreadConstraints"]
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= other.items()
        assert selector["app.kubernetes.io/instance"] == "vk"
    for each in serving["template"]["spec"]["topologySpreadConstraints"]:
        assert each["matchLabelKeys"] == ["pod-template-hash"]
    for autoscaler in of_kind(objects, "HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == the(objects, "Deployment")["metadata"]["name"]
        assert "replicas" not in serving


def test_ports(objects: Objects) -> None:
    """Services, policies and probes name ports that the broker's container has, and those are what it listens on."""
    (container,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert all(0 < number < 65536 for number in named.values())
    for service in of_kind(objects, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named.keys()
    policy = the(objects, "NetworkPolicy")["spec"]
    admitted = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert admitted == named.keys()
    out = {port["port"] for rule in policy["egress"] for port in rule.get("ports", [])}
    assert {53, 443, 6443, 8200} <= out
    assert (5432 in out) == ("url_file" in broker_toml(objects))


def test_every_pod_is_restricted(objects: Objects) -> None:
    """Pod Security's restricted profile, field by field, for every container of every pod; and a read-only root.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    for _, pod, _ in pods(objects):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["automountServiceAccountToken"] is False
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert not {"privileged", "runAsUser", "procMount"} & own.keys()
            assert not [port for port in container.get("ports", []) if "hostPort" in port]
        for volume in pod.get("volumes", []):
            assert len(volume) == 2
            assert volume.keys() - {"name"} <= _VOLUMES


def test_what_is_referred_to_is_there(objects: Objects) -> None:
    """Secrets, config maps, claims, accounts and volumes have names that the chart makes or the operator made."""
    made = {(each["kind"], each["metadata"]["name"]) for each in objects}
    secrets = {*SECRETS, *(each["spec"]["secretName"] for each in of_kind(objects, "Certificate"))}
    maps = {*CONFIG_MAPS, *(name for kind, name in made if kind == "ConfigMap")}
    for _, pod, _ in pods(objects):
        assert ("ServiceAccount", pod.get("serviceAccountName", "default")) in {*made, ("ServiceAccount", "default")}
        assert {each["name"] for each in pod.get("imagePullSecrets", [])} <= secrets
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        assert len(volumes) == len(pod.get("volumes", []))
        mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert mounted == volumes.keys()
        for container in containers(pod):
            places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(set(places)) == len(places)
            # A single file that is mounted does not follow a renewal.
            assert not [mount for mount in container.get("volumeMounts", []) if "subPath" in mount]
        for volume in volumes.values():
            sources = volume["projected"]["sources"] if "projected" in volume else [volume]
            for source in sources:
                assert source.get("secret", {}).get("secretName", "tls") in secrets
                assert source.get("configMap", {}).get("name", "vault-ca") in maps
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or ("PersistentVolumeClaim", claim) in made


def test_names_labels_and_quantities(objects: Objects) -> None:
    """Names are such as the API takes, labels are texts, and memory has no limit other than its request."""
    for each in objects:
        metadata = each["metadata"]
        assert _SERVICE.fullmatch(metadata["name"]), metadata["name"]
        assert metadata.get("namespace", "valetkey") == "valetkey"
        for label in metadata.get("labels", {}).values():
            assert isinstance(label, str)
            assert _LABEL.fullmatch(label)
    for _, pod, _ in pods(objects):
        for container in containers(pod):
            resources = container["resources"]
            assert resources["limits"].keys() == {"memory"}
            assert resources["limits"]["memory"] == resources["requests"]["memory"]
            assert all(_QUANTITY.fullmatch(each) for each in resources["requests"].values())


def test_probes(objects: Objects) -> None:
    """Probes speak the broker's TLS, end before Kubernetes ends them, and no liveness hangs on Vault."""
    (container,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    for kind in ("startup", "liveness", "readiness"):
        probe = container[f"{kind}Probe"]
        command = probe["exec"]["command"]
        assert command[:3] == ["valetkey-broker", "health", "--timeout"]
        assert int(command[3]) < probe["timeoutSeconds"] <= probe["periodSeconds"] + 3
        assert ("--live" in command) == (kind != "readiness")
    ends = the(objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert ends > container["lifecycle"]["preStop"]["sleep"]["seconds"] + 20


def test_every_pod_has_the_settings_that_it_is_told_of(objects: Objects) -> None:
    """The image names a file of settings; a pod that does not say otherwise, and has none there, cannot even probe."""
    for name, spec, _ in pods(objects):
        for container in containers(spec):
            said = {each["name"]: each.get("value", "") for each in container.get("env", ())}
            mounts = tuple(each["mountPath"] for each in container["volumeMounts"])
            assert said.get("VALETKEY_BROKER_CONFIG", "").startswith(mounts), name


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_broker_takes_its_settings(
    values: dict[str, Any], tmp_path: Path, certificates: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`check-config` is content with broker.toml, with the files that the pod's volumes put where it names them."""
    made = rendered(merged(values, {}))
    spec = the(made, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        folder = tmp_path / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for name in _files(volumes[mount["name"]]):
            (folder / name).write_text(certificates.get(name, "x"))
            (folder / name).chmod(0o440)
    toml = tmp_path / "etc/valetkey/config/broker.toml"
    text = broker_toml(made)
    for place in ("/etc/valetkey", "/var/run/secrets", "/var/lib/valetkey"):
        text = text.replace(place, f"{tmp_path}{place}")
    toml.write_text(text)
    print_configuration(toml)
    said = capsys.readouterr()
    assert "broker.toml: ok" in said.out
    assert not said.err or "does not answer; a broker waits for it" in said.err


def _files(volume: Mapping[str, Any]) -> Iterator[str]:
    for source in volume.get("projected", {}).get("sources", [volume]):
        if "serviceAccountToken" in source:
            yield source["serviceAccountToken"]["path"]
        held = source.get("secret") or source.get("configMap") or {}
        known = {**CONFIG_MAPS, "vk-valetkey": ()} if "configMap" in source else SECRETS
        name = held.get("secretName") or held.get("name")
        if name is not None:
            keys = [item["path"] for item in held["items"]] if "items" in held else known.get(name, SECRETS["tls"])
            yield from keys


def test_lint(tmp_path: Path) -> None:
    """Helm's own lint has nothing to say, not even in passing."""
    from helm_python.chart import lint

    for values in MATRIX.values():
        found = lint(CHART, merged(values, LEAST), strict=True)
        assert [each for each in found["messages"] if "icon" not in str(each)] == []


def test_nothing_depends_on_what_helm_thinks_of_the_cluster() -> None:
    """`helm template` and Argo know no cluster: what asks `.Capabilities` would come out otherwise there."""
    assert [
        path.name for path in (CHART / "templates").rglob("*") if path.is_file() and "Capabilities" in path.read_text()
    ] == []
