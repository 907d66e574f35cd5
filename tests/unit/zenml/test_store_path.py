"""Where a store lies, and what is within it: by whole parts of a path."""

import pytest

from valetkey.errors import InvalidArgumentError
from valetkey.zenml.store_path import StorePath


@pytest.mark.parametrize(
    ("text", "root", "container"),
    [
        ("az://models", "az://models", "az://models"),
        ("az://models/", "az://models", "az://models"),
        ("abfs://models/zen/two", "abfs://models/zen/two", "abfs://models"),
        ("abfs://models@acme.dfs.core.windows.net/zen", "abfs://models@acme.dfs.core.windows.net/zen", ""),
        ("az://models/with space --x", "az://models/with space --x", "az://models"),
    ],
)
def test_roots(text: str, root: str, container: str) -> None:
    """Both schemes, with and without a prefix, and with the account where the container's name is not enough."""
    store = StorePath.parse(text)
    assert store.root == root
    assert store.container == (container or "abfs://models@acme.dfs.core.windows.net")


@pytest.mark.parametrize(
    "text",
    [
        *("", "az://", "az:///x", "az:/models", "s3://models", "/models", "models", "https://acme/models"),
        *("az://models//x", "az://models/../x", "az://models/.", "az://..", "az://models\\x", "az://models/x/../.."),
        *("az://models?sig=abc", "az://models/x#y"),
    ],
)
def test_no_roots(text: str) -> None:
    """They are told what is expected; what stands behind a question mark is not repeated, as it may be a signature."""
    with pytest.raises(InvalidArgumentError, match="expected az://CONTAINER") as caught:
        StorePath.parse(text)
    assert "sig" not in caught.value.message


@pytest.mark.parametrize(
    "path", ["az://c/zen", "az://c/zen/", "az://c/zen/a b --c/#1", "az://c/zen/..a/b..", "az://c/zen//double"]
)
def test_within(path: str) -> None:
    assert StorePath("az://c/zen").check(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("az://c/zen-evil", "az://c/zen-evil/x", "az://c/ze", "az://c", "az://c/other", "az://d/zen/x"),
        *("az://c/zen/../other", "az://c/zen/a/../../b", "az://c/zen/..", "az://c/zen/.", "abfs://c/zen/x"),
        *("az://czen/x", "AZ://c/zen/x", "/zen/x", ""),
    ],
)
def test_outside(path: str) -> None:
    """ZenML's own check is one of prefixes, and knows no parts."""
    with pytest.raises(FileNotFoundError, match="outside of the artifact store's bounds"):
        StorePath("az://c/zen").check(path)


def test_a_whole_container_has_bounds_too() -> None:
    with pytest.raises(FileNotFoundError):
        StorePath("az://models").check("az://models-of-others/x")
