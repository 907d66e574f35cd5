"""What somebody without any permission but reading is told, and what a broker that is away makes of a step."""

import sys
import time

from zenml.client import Client

store = Client().active_stack.artifact_store
began = time.monotonic()
for operation, path in (("exists", "x"), ("remove", "x"), ("rmtree", "folder")):
    try:
        print(operation, getattr(store, operation)(f"{store.path}/{path}"))
    except Exception as error:  # noqa: BLE001 (it is what the test reads)
        print(operation, f"{type(error).__name__}: {error}")
    if sys.argv[1:]:
        break
