"""What ZenML runs whenever it is imported: costs nothing, breaks nothing, and brings the connector type when asked."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from valetkey import zenml_hook

# The registry as ZenML has it: it registers what it brings along before it answers anything.
_REGISTRY = """
class Registry:
    def __init__(self):
        self.types = ["built-in"]
        self.initialized = 0

    def register_builtin_service_connectors(self):
        self.initialized += 1

    def all(self):
        self.register_builtin_service_connectors()
        return self.types

service_connector_registry = Registry()
"""


def run(directory: Path, code: str, connector: str, registry: str = _REGISTRY) -> dict[str, Any]:
    """Runs code in a process whose ZenML has this registry, and whose connector's module is the one given."""
    package = directory / "zenml" / "service_connectors"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "service_connector_registry.py").write_text(registry)
    (directory / "stand_in_connector.py").write_text(connector)
    script = dedent(
        """
        import json, sys
        from valetkey import zenml_hook
        zenml_hook._CONNECTOR = "stand_in_connector"
        """
    ) + dedent(code)
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env={"PYTHONPATH": str(directory), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer | {"stderr": ran.stderr}


JOINS = (
    "from zenml.service_connectors.service_connector_registry import service_connector_registry as registry\n"
    "registry.all()\n"  # as making a connector's class asks the registry while it is being loaded
    "registry.types.append('valetkey')\n"
)
ASK = """
    zenml_hook.install()
    zenml_hook.install()
    early = [name for name in ("zenml", "grpc", "pydantic", "stand_in_connector") if name in sys.modules]
    from zenml.service_connectors.service_connector_registry import service_connector_registry as registry
    loaded = "stand_in_connector" in sys.modules
    print(json.dumps({"early": early, "loaded": loaded, "types": [registry.all(), registry.all()][1],
                      "finders": sum(type(finder).__name__ == "_RegistryFinder" for finder in sys.meta_path)}))
"""


def test_it_is_the_entry_point() -> None:
    """ZenML finds the hook by its group."""
    (found,) = entry_points(group="zenml.init_hooks", name="valetkey")
    assert found.load() is zenml_hook.install


def test_the_type_comes_when_somebody_asks(tmp_path: Path) -> None:
    """Nothing is imported at the start; the first question loads the connector, once, also where that asks again."""
    assert run(tmp_path, ASK, JOINS) == {
        "early": [],
        "loaded": False,
        "types": ["built-in", "valetkey"],
        "finders": 0,
        "stderr": "",
    }


def test_a_registry_that_is_loaded_already(tmp_path: Path) -> None:
    """The order of imports does not matter."""
    code = "from zenml.service_connectors import service_connector_registry\n"
    assert run(tmp_path, code + dedent(ASK), JOINS)["types"] == ["built-in", "valetkey"]


@pytest.mark.parametrize("connector", ["raise RuntimeError('broken')", "import no_such_package"])
def test_a_connector_that_cannot_be_loaded(tmp_path: Path, connector: str) -> None:
    """ZenML goes on without it, and a line says why."""
    ran = run(tmp_path, ASK, connector)
    assert ran["types"] == ["built-in"]
    assert "ZenML does without the service connector type valetkey" in ran["stderr"]


@pytest.mark.parametrize("registry", ["", "service_connector_registry = object()"])
def test_a_registry_of_another_shape(tmp_path: Path, registry: str) -> None:
    """A later ZenML that does it otherwise starts as ever."""
    code = """
        zenml_hook.install()
        import zenml.service_connectors.service_connector_registry as module
        print(json.dumps({"file": bool(module.__loader__.get_source(module.__name__) is not None)}))
    """
    assert run(tmp_path, code, JOINS, registry)["stderr"] == ""
