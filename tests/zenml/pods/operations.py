"""Every file operation of ZenML on the active store, and what each refuses. Says `all good` at its end."""

import os
import pickle
from collections.abc import Callable
from typing import Any

from zenml.client import Client
from zenml.io import fileio

store = Client().active_stack.artifact_store
root = f"{store.path}/operations {os.getpid()}"
odd = f"{root}/with space --dry-run #1 ä?*[a]&%20+"
# Each by itself, too: two mistakes of quoting can undo each other.
NAMES = ("a b", "--all", "a#b", "a?b", "a*", "a[b]", "a%20b", "a+b", "a&b=c", "ä")


def refused(operation: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """Returns what an operation that has to fail says."""
    try:
        operation(*arguments, **named)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is shown)
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"{operation} {arguments} was not refused")


def same(found: Any, expected: Any) -> None:
    """Ends everything where something is not as expected."""
    assert found == expected, f"{found!r} is not {expected!r}"


# Writing, adding, reading, as text and as bytes, in a folder whose name is odd in URLs and command lines.
store.makedirs(root)
store.mkdir(odd)
same(store.exists(root), False)
for mode, pieces in (("w", ["one"]), ("a", ["first\n", "second\n"]), ("wb", [b"\0two"])):
    path = f"{odd}/{mode}"
    for piece in pieces:
        with store.open(path, mode) as file:
            file.write(piece)
    content = pieces[0][:0].join(pieces)
    with store.open(path, "rb" if "b" in mode else "r") as file:
        same(file.read(), content)
    same(store.size(path), len(content))
    same(store.stat(path)["size"], len(content))
    same((store.exists(path), store.isdir(path)), (True, False))
same((store.exists(root), store.isdir(root), store.isdir(odd)), (True, True, True))
same((store.exists(f"{root}/none"), store.isdir(f"{root}/none")), (False, False))
same(store.exists(f"{root}/none".encode()), False)

# Looking around.
same(sorted(store.listdir(odd)), ["a", "w", "wb"])
same(store.listdir(root), [odd.rpartition("/")[2]])
same(sorted(store.glob(f"{root}/*/w*")), [f"{odd}/w", f"{odd}/wb"])
same([(top, sorted(below), sorted(names)) for top, below, names in store.walk(root)][-1], (odd, [], ["a", "w", "wb"]))

# Copying and moving; what is there already stays.
store.copyfile(f"{odd}/w", f"{root}/copy")
with store.open(f"{root}/copy") as file:
    same(file.read(), "one")
assert "FileExistsError" in refused(store.copyfile, f"{odd}/a", f"{root}/copy")
store.copyfile(f"{odd}/a", f"{root}/copy", overwrite=True)
assert "FileExistsError" in refused(store.rename, f"{odd}/w", f"{root}/copy")
store.rename(f"{root}/copy", f"{root}/moved")
same((store.exists(f"{root}/copy"), store.size(f"{root}/moved")), (False, 13))
assert "FileNotFoundError" in refused(store.open, f"{root}/copy")
assert "FileNotFoundError" in refused(store.copyfile, f"{root}/copy", f"{root}/other")

# Each name is that name, for every operation: no pattern, no query, no escape.
for name in NAMES:
    with fileio.open(f"{root}/names/{name}", "w") as file:
        file.write(name)
same(sorted(fileio.listdir(f"{root}/names")), sorted(NAMES))
same(sorted(store.glob(f"{root}/names/*")), sorted(f"{root}/names/{name}" for name in NAMES))
for name in NAMES:
    fileio.copy(f"{root}/names/{name}", f"{root}/copies/{name}")
    fileio.rename(f"{root}/copies/{name}", f"{root}/renamed/{name}")
    with fileio.open(f"{root}/renamed/{name}") as file:
        same(file.read(), name)
    same((store.exists(f"{root}/copies/{name}"), store.isdir(f"{root}/renamed/{name}")), (False, False))
    same(store.size(f"{root}/renamed/{name}"), len(name.encode()))
store.remove(f"{root}/names/a*")
same(sorted(store.listdir(f"{root}/names")), sorted(set(NAMES) - {"a*"}))

ALONE = ("open", "exists", "isdir", "listdir", "glob", "makedirs", "mkdir", "remove", "rmtree", "stat", "size")
# Out of bounds: by a longer name, by parts that lead up, by another scheme or container, in either argument.
for outside in (
    f"{store.path}-evil/x",
    f"{root}/../../x",
    f"{root}\\..\\..\\x",
    store.path.replace("az://", "abfs://") + "/x",
    "az://demo-models/x",
):
    for operation in ALONE:
        assert "FileNotFoundError" in refused(getattr(store, operation), outside), (operation, outside)
    assert "FileNotFoundError" in refused(lambda path: list(store.walk(path)), outside)
    for operation in ("copyfile", "rename"):
        assert "FileNotFoundError" in refused(getattr(store, operation), outside, f"{root}/x")
        assert "FileNotFoundError" in refused(getattr(store, operation), f"{odd}/w", outside, overwrite=True)
    assert "FileNotFoundError" in refused(fileio.exists, outside)

# It travels to other processes without what it has open.
copy = pickle.loads(pickle.dumps(store))  # noqa: S301 (our own)
same(copy.exists(f"{odd}/w"), True)

# Removing.
store.remove(f"{root}/moved")
same(store.exists(f"{root}/moved"), False)
assert "FileNotFoundError" in refused(store.remove, f"{root}/moved")
store.rmtree(root)
same((store.exists(root), store.exists(f"{odd}/w")), (False, False))
print("all good")
