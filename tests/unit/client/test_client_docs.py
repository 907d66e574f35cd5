"""What docs/python-client.md promises, and what importing the client costs."""

import gc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.noting_storage import running_noting_storage
from valetkey.testing import FakeBroker

PAGE = Path(__file__).parents[3] / "docs" / "python-client.md"


def test_every_snippet_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects whoever copies from the page: its snippets run one after the other, as they stand there."""
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with running_noting_storage() as storage, FakeBroker(url=storage.url) as broker:
        for name, value in broker.environ().items():
            monkeypatch.setenv(name, value)
        names: dict[str, Any] = {}
        for snippet in snippets:
            exec(snippet, names)  # noqa: S102 (ours)
        assert [body for _, _, _, body in storage.seen] == [b"weights", b"{}"]
        assert all(len(each) == 1 for each in storage.signatures())
        names.clear()
        gc.collect()  # Sources end with whoever holds them, and clients hold each other.
    assert len(snippets) == 7
    assert "key:fake" in capsys.readouterr().out


COSTS = """
import sys, time
import google.protobuf.any_pb2, google.protobuf.duration_pb2, google.protobuf.timestamp_pb2
began = time.process_time()
import grpc
grpc_took = time.process_time() - began
before = set(sys.modules)
began = time.process_time()
import valetkey
bare = {name for name in sys.modules if name not in before}
valetkey.Client
took = time.process_time() - began
valetkey.TokenSource
loaded = [name for name in sys.modules if name not in before]
not_now = ("tomllib", "importlib.metadata", "typer", "asyncio", "ssl", "http.client", "json", "urllib.request")
services = [name for name in loaded if name.endswith("service_pb2") and name != "valetkey.v1.token_service_pb2"]
heavy = services + [name for name in loaded if name in not_now]
print(sorted(bare), heavy, took / grpc_took)
"""


def test_importing_it_costs_little() -> None:
    """Protects remote steps: names load when they are used, client and source without what only some calls need.

    60 ms is what is promised; where grpc takes 130 ms, the client takes less than half of that. Shares of time are the
    much the same on a busy machine, and the least of a few tries tells.
    """
    shares: list[float] = []
    while len(shares) < 5 and min(shares, default=1.0) >= 0.6:
        done = subprocess.run([sys.executable, "-c", COSTS], capture_output=True, text=True, check=True, timeout=120)
        found = re.fullmatch(r"(\[.*\]) (\[.*\]) (\S+)\n", done.stdout)
        assert found, done.stdout
        assert found.group(1, 2) == ("['valetkey']", "[]")
        shares.append(float(found[3]))
    assert min(shares) < 0.6, shares
