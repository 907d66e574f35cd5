"""Compiles what the broker loads, the standard library's part of it too, in the last stage of the Dockerfile.

A pod's root is read-only: what is not compiled there is compiled at each start. All of it would be half as large again,
and of the Azure SDK alone the greater part is never loaded. Unchecked: bytecode stays good whatever happens to the
times of files, which layers change.
"""

import contextlib
import importlib
import pkgutil
import py_compile
import sys
from pathlib import Path

import valetkey_broker
from valetkey_broker.adapters.azure.sdk_preload import LATE_MODULES

# What is loaded late: by a command, a ledger, a connection.
LATE = (
    "alembic.command",
    "alembic.config",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    "sqlite3",
    "uvloop",
    *LATE_MODULES,
)


def main() -> None:
    """Loads, compiles, and says how many modules that were. Anything that cannot be loaded fails the build."""
    for module in pkgutil.walk_packages(valetkey_broker.__path__, "valetkey_broker."):
        if not module.name.rpartition(".")[2].startswith("_") and ".migrations." not in module.name:
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    migrations = Path(valetkey_broker.__path__[0], "ledger", "migrations").rglob("*.py")
    sources = {str(file) for file in (*files, *migrations) if str(file).endswith(".py")} - {__file__}
    for source in sorted(sources):
        with contextlib.suppress(FileNotFoundError):  # Of a module that is frozen.
            py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    print(f"compiled {len(sources)} modules")


if __name__ == "__main__":
    main()
