"""docs/deploy-kubernetes.md: its values make the chart, and its pod is one that Kubernetes takes."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.chart import CHART, ROOT, Chart, of_kind, the

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PAGE = (ROOT / "docs" / "deploy-kubernetes.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
POD = next(block for block in BLOCKS if block.get("kind") == "Pod")
VALUES = [block for block in BLOCKS if "kind" not in block]


@pytest.fixture(scope="module")
def made() -> list[dict[str, Any]]:
    both = {**VALUES[0], **VALUES[1]}
    found = Chart.load(CHART).render(both, name="valetkey", namespace="valetkey")
    texts = [text for path, text in found.items() if not path.endswith("NOTES.txt")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def test_values_of_the_page_make_the_chart(made: list[dict[str, Any]]) -> None:
    """What one copies from the page renders, with the names that its commands use."""
    assert len(VALUES) == 2
    assert the(made, "Deployment")["metadata"]["name"] == "valetkey"
    assert the(made, "ServiceAccount")["metadata"]["name"] == "valetkey"
    assert "valetkey.valetkey.svc" in the(made, "Certificate")["spec"]["dnsNames"]


def test_the_consumers_pod(made: list[dict[str, Any]]) -> None:
    """The pod of the page has the shape of one, asks for the chart's audience, and calls the Service's port."""
    kubernetes_validate.validate(POD, "1.37", strict=True)
    env = {each["name"]: each["value"] for each in POD["spec"]["containers"][0]["env"]}
    (service,) = of_kind(made, "Service")
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    assert env["VALETKEY_ENDPOINT"] == f"{name}.{namespace}.svc:{service['spec']['ports'][0]['port']}"
    (mount,) = POD["spec"]["containers"][0]["volumeMounts"]
    sources = POD["spec"]["volumes"][0]["projected"]["sources"]
    assert env["VALETKEY_TOKEN_FILE"] == f"{mount['mountPath']}/{sources[0]['serviceAccountToken']['path']}"
    assert env["VALETKEY_CA_FILE"] == f"{mount['mountPath']}/{sources[1]['configMap']['items'][0]['path']}"
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert sources[0]["serviceAccountToken"]["audience"] == values["callers"]["kubernetes"]["audience"]
