"""What a ZenML server does for people with what is in the artifact store. Writes, as JSON, what came of each.

served.py run ANSWERS-FILE: a pipeline, and then what a server is asked for. served.py delete ANSWERS-FILE: what it may
delete now.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from zenml.client import Client
from zenml.types import HTMLString

from zenml import pipeline, step

client = Client()
PAGE = "<b>weights</b>"


@step(enable_cache=False)
def shown() -> Annotated[HTMLString, "shown"]:
    print("a page was made")
    return HTMLString(PAGE)


@pipeline(enable_cache=False)
def showing() -> None:
    shown()


def attempt(what: Callable[[], Any]) -> str:
    """Returns `done`, or what was said instead."""
    try:
        what()
    except Exception as error:  # noqa: BLE001 (whatever it is, it is shown)
        return f"{type(error).__name__}: {error}"
    return "done"


def visualised() -> None:
    artifact = client.get_artifact_version("shown")
    answer = client.zen_store.get(f"/artifact_versions/{artifact.id}/visualize", params={"index": 0})
    assert answer["value"] == PAGE, answer


def logged() -> None:
    run = client.list_pipeline_runs(size=1, sort_by="desc:created").items[0]
    lines = client.zen_store.get(f"/runs/{run.id}/logs", params={"source": "client"})
    assert "showing" in json.dumps(lines), lines


def loaded() -> None:
    assert client.get_artifact_version("shown").load() == PAGE


def deleted(*, server_side: bool) -> None:
    artifact = client.get_artifact_version("shown")
    uri = artifact.uri
    client.delete_artifact_version(
        artifact.id, delete_metadata=False, delete_from_artifact_store=True, server_side=server_side
    )
    assert not client.active_stack.artifact_store.exists(uri), f"{uri} is still there"


answers: dict[str, str] = {}
if sys.argv[1] == "run":
    answers["pipeline"] = attempt(showing)
    answers["load"] = attempt(loaded)
    answers["visualisation"] = attempt(visualised)
    answers["logs"] = attempt(logged)
    # With a grant that lets the server read only.
    answers["deletion by the server, whose grant has no delete"] = attempt(lambda: deleted(server_side=True))
else:
    # Another one: who has deleted it may have forgotten the first.
    showing()
    answers["deletion by the server"] = attempt(lambda: deleted(server_side=True))
    showing()
    answers["deletion by the client"] = attempt(lambda: deleted(server_side=False))
Path(sys.argv[2]).write_text(json.dumps(answers))
