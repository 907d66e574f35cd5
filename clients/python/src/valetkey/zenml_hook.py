"""Makes the service connector type `valetkey` known to ZenML, by its entry point group `zenml.init_hooks`.

ZenML runs this at the very start of each `import zenml`, before its own modules can be imported, and a hook that raises
keeps ZenML from starting. So nothing is imported here but the standard library; the connector is loaded when somebody
first asks ZenML's registry for types, and whatever goes wrong with it is a warning.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_REGISTRY = "zenml.service_connectors.service_connector_registry"
_CONNECTOR = "valetkey.zenml.connector"


def install() -> None:
    """Has the connector type join ZenML's registry once that is loaded; raises nothing."""
    if _REGISTRY in sys.modules:
        _join(sys.modules[_REGISTRY])
    elif not any(isinstance(finder, _RegistryFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RegistryFinder())


class _RegistryFinder(MetaPathFinder):
    """Finds the registry's module where it is, and nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 (the name is the protocol's)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != _REGISTRY:
            return None
        # Out of the way first: the others are asked now, and it is of no use afterwards.
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _JoiningLoader(spec.loader)
        return spec


class _JoiningLoader(Loader):
    """Loads a module as its own loader does, then has the connector type join it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _join(module)

    def __getattr__(self, name: str) -> Any:
        # Source lines in tracebacks, resources: whatever else a loader can do.
        return getattr(self._loader, name)


def _join(module: ModuleType) -> None:
    """Has the registry load the connector together with ZenML's own, which it does before it answers anything."""
    registry = getattr(module, "service_connector_registry", None)
    built_in = getattr(registry, "register_builtin_service_connectors", None)
    if registry is None or built_in is None or hasattr(registry, "_valetkey"):
        return
    registry._valetkey = True  # noqa: SLF001 (a mark on somebody else's object)

    def with_ours() -> None:
        built_in()
        # Once, and before the import: that asks the registry itself.
        if registry._valetkey:  # noqa: SLF001
            registry._valetkey = False  # noqa: SLF001
            _load()

    registry.register_builtin_service_connectors = with_ours


def _load() -> None:
    try:
        importlib.import_module(_CONNECTOR)
    except Exception as error:  # noqa: BLE001 (ZenML works without this connector type; nothing here may keep it from that)
        logging.getLogger(__name__).warning(
            "ZenML does without the service connector type valetkey: it cannot be loaded here (%s: %s)",
            type(error).__name__,
            error,
        )
