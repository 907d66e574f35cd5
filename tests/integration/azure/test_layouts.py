"""Our layouts of tokens against the SDK's own functions, with the oldest and the newest SDK that the broker takes."""

import base64
import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import children

ROOT = Path(__file__).parents[3]
CHILD = ROOT / "tests" / "support" / "layouts_child.py"
SAS = ROOT / "broker" / "src" / "valetkey_broker" / "adapters" / "azure" / "sas.py"
NOW = 1_800_000_000

_ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"
_segments = st.text("ABCXYZabcxyz0189_.=@+,~!()'-", min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..")
)
_paths = st.one_of(
    st.lists(_segments, min_size=1, max_size=6).map("/".join),
    # The longest and the deepest that a blob's name may be, and what looks like our own placeholders.
    st.sampled_from(["a" * 1024, "/".join("a" * 254), "PLACEHOLDER_OF_THE_PATH/_", "models", "1601-01-01T00.00.00Z"]),
)
_requests = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["container", "blob", "directory"]),
        "account": st.text(_ALNUM, min_size=3, max_size=24),
        "container": st.one_of(st.text(_ALNUM, min_size=3, max_size=20), st.sampled_from(["$web", "a-b-c"])),
        "path": _paths,
        "letters": st.text("racwdlme", min_size=1, max_size=8),
        "starts": st.integers(NOW - 900, NOW),
        "expires": st.integers(NOW + 1, NOW + 7200),
        "ip": st.sampled_from(["", "203.0.113.7", "203.0.113.1-203.0.113.9"]),
        "lease": st.uuids().map(str),
        "correlated": st.booleans(),
        "delegated": st.booleans(),
        "oid": st.uuids().map(str),
        "tid": st.uuids().map(str),
        "key": st.binary(min_size=16, max_size=64).map(lambda key: base64.b64encode(key).decode()),
    }
)


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_tokens_are_those_of_the_sdk(which: str) -> None:
    """Container, blob and directory, by delegation key and account key: byte for byte what the SDK signs and sends."""
    python = ROOT / ".venv-sdks" / which / "bin" / "python"
    assert python.exists(), "the SDKs are missing: make .venv-sdks/.installed"
    process = children.start(
        [python, CHILD, SAS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT / "broker" / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    source, sink = process.stdout, process.stdin

    @given(asked=_requests)
    @settings(max_examples=100)
    def same(asked: dict[str, Any]) -> None:
        sink.write(json.dumps(asked) + "\n")
        sink.flush()
        answer = json.loads(source.readline())
        assert [answer["ours"]] * len(answer["theirs"]) == answer["theirs"]
        query = parse_qs(answer["ours"])
        assert query["sr"] == [{"container": "c", "blob": "b", "directory": "d"}[asked["kind"]]]
        depth = [str(asked["path"].count("/") + 1)] if asked["kind"] == "directory" else None
        assert query.get("sdd") == depth

    with process, sink, source:
        same()


def test_the_oldest_and_the_newest_are_those_that_are_meant() -> None:
    """The lower bound of the broker's dependencies is what is tested as the oldest; this broker's own lies between."""
    oldest, newest = (
        (ROOT / "requirements" / f"sdk-{which}.in").read_text().partition("azure-storage-blob==")[2].split()[0]
        for which in ("oldest", "newest")
    )
    assert f'"azure-storage-blob[aio]>={oldest.removesuffix(".0")}"' in (ROOT / "pyproject.toml").read_text()
    own = version("azure-storage-blob")
    assert _numbers(oldest) <= _numbers(own) <= _numbers(newest)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))
