"""What programs do with `valetkey.fsspec` that adlfs takes otherwise than other file systems, on the real Azurite."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from support.azurite_files import FOLDER
from valetkey.errors import InvalidArgumentError
from valetkey.fsspec import ValetKeyFileSystem

NAMES = ("a%41b", "a#b", "a?b", "a b", "a+b", "a&b=c", "ü", "a//b", "dot.", "a[1]", "star*", "{a,b}", "a:b")


async def test_what_was_written_is_found(files: ValetKeyFileSystem) -> None:
    """Protects whoever listed a folder before: adlfs goes by that listing, and finds nothing that came since."""

    def use() -> None:
        files.pipe_file(f"{FOLDER}/first", b"")
        files.ls(FOLDER)
        for name in NAMES:
            files.pipe_file(f"{FOLDER}/{name}", name.encode())
            with files.open(f"{FOLDER}/{name}", "rb") as file:
                assert file.read() == name.encode()
            assert files.cat_file(f"{FOLDER}/{name}") == name.encode()
            assert f"{FOLDER}/{name.partition('/')[0]}" in files.ls(FOLDER, detail=False)
        with files.open(f"{FOLDER}/deep/er/est", "wb") as file:
            file.write(b"")
        assert f"{FOLDER}/deep" in files.ls(FOLDER, detail=False)
        assert files.info(f"{FOLDER}/deep")["type"] == "directory"
        files.rm_file(f"{FOLDER}/deep/er/est")
        assert f"{FOLDER}/deep" not in files.ls(FOLDER, detail=False)

    await asyncio.to_thread(use)


async def test_patterns_are_what_they_are_elsewhere(files: ValetKeyFileSystem, tmp_path: Path) -> None:
    """Protects `get("runs/*")` and `rm("runs/x*")`, which adlfs takes for nothing, whatever is there; and the rest."""

    def found_after(of: AbstractFileSystem, root: str, do: Callable[[], object]) -> list[str]:
        if of.exists(root):
            of.rm(root, recursive=True)
        of.pipe({f"{root}/{name}": name.encode() for name in ("runs/x1", "runs/x2", "runs/deep/x", "runs/y", "z")})
        do()
        return [str(name).removeprefix(root) for name in of.find(root)]

    def results(of: AbstractFileSystem, root: str) -> list[Any]:
        runs, got, whole = f"{root}/runs", tmp_path / str(of.protocol), {"recursive": True}
        found: list[Any] = [
            found_after(of, root, lambda: of.rm(f"{runs}/x*")),
            found_after(of, root, lambda: of.rm(f"{runs}/*", **whole)),
            found_after(of, root, lambda: of.copy(f"{runs}/*", f"{root}/to/")),
            found_after(of, root, lambda: of.copy([f"{runs}/x*", f"{root}/z"], f"{root}/to/", **whole)),
            found_after(of, root, lambda: of.mv(f"{runs}/*", f"{root}/to/", **whole)),
            found_after(of, root, lambda: of.get(f"{runs}/*", f"{got}/", **whole)),
            [path.removeprefix(root) for path in of.expand_path([f"{runs}/x?", f"{root}/z"])],
            list(of.cat(f"{runs}/x*").values()),
            sorted(str(path.relative_to(got)) for path in got.rglob("*")),
        ]
        with pytest.raises(FileNotFoundError):
            of.rm(f"{runs}/none*")
        return found

    def use() -> None:
        elsewhere = results(MemoryFileSystem(), "/versions")
        assert results(files, FOLDER) == elsewhere
        assert elsewhere[0] == ["/runs/deep/x", "/runs/y", "/z"]

    await asyncio.to_thread(use)


async def test_a_directory_is_moved_whole(files: ValetKeyFileSystem) -> None:
    """Protects a folder of results: adlfs copies all of it, fails at the folder itself, and leaves both there."""

    def use() -> None:
        files.pipe({f"{FOLDER}/{name}": name.encode() for name in ("one/a", "one/deep/b", "two/c")})
        files.mv(f"{FOLDER}/one", f"{FOLDER}/three", recursive=True)
        files.mv(f"{FOLDER}/three", f"{FOLDER}/two", recursive=True)
        found = [name.removeprefix(f"{FOLDER}/") for name in files.find(FOLDER)]
        assert found == ["two/c", "two/three/a", "two/three/deep/b"]
        with pytest.raises(FileNotFoundError):
            files.mv(f"{FOLDER}/one", f"{FOLDER}/four", recursive=True)
        with pytest.raises(IsADirectoryError):
            files.open(f"{FOLDER}/two", "rb")

    await asyncio.to_thread(use)


async def test_ranges_are_read_as_slices(files: ValetKeyFileSystem) -> None:
    """Protects readers of indexes at a file's end (zarr's shards), which adlfs refuses: Azure knows no such ranges."""

    def use() -> None:
        for content in (b"0123456789", b""):
            files.pipe_file(f"{FOLDER}/range", content)
            for start in (None, 0, 3, 10, 12, -3, -12):
                for end in (None, 0, 3, 12, -2, -12):
                    assert files.cat_file(f"{FOLDER}/range", start, end) == content[start:end], (start, end)
        assert files.cat_ranges([f"{FOLDER}/range"] * 2, [0, 5], [3, 7]) == [b"", b""]
        with pytest.raises(FileNotFoundError):
            files.cat_file(f"{FOLDER}/none", -1)
        with pytest.raises(IsADirectoryError):
            files.cat_file(FOLDER, -1)

    await asyncio.to_thread(use)


async def test_no_name_leads_out_of_its_folder(files: ValetKeyFileSystem) -> None:
    """Protects one tenant's folder from another's names: on its way, a/../b is b."""

    def use() -> None:
        files.pipe_file(f"{FOLDER}/b", b"another's")
        tenant = DirFileSystem(f"{FOLDER}/a", files)
        for action in (
            lambda: tenant.pipe_file("../b", b"mine"),
            lambda: tenant.cat_file("../b"),
            lambda: tenant.rm_file("../b"),
            lambda: tenant.open("x/../../b", "wb"),
        ):
            with pytest.raises(InvalidArgumentError, match=r"\.\. is no directory of storage"):
                action()
        assert files.cat_file(f"{FOLDER}/b") == b"another's"

    await asyncio.to_thread(use)


async def test_one_instance_in_loop_after_loop(files: ValetKeyFileSystem) -> None:
    """Protects programs that call `asyncio.run` again and again, whose connections end with each loop; and cancel."""
    made = type(files)(*files.storage_args, **{**files.storage_options, "asynchronous": True})

    async def use() -> bytes:
        await made._pipe_file(f"{FOLDER}/loop", b"0123456789" * 100_000)
        reads = [asyncio.ensure_future(made._cat_file(f"{FOLDER}/loop")) for _ in range(4)]
        await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        return await made._cat_file(f"{FOLDER}/loop", 0, 10)

    for _ in range(3):
        assert await asyncio.to_thread(asyncio.run, use()) == b"0123456789"


async def test_what_was_written_as_a_whole_is_not_appended_to(files: ValetKeyFileSystem) -> None:
    """Protects whoever appends to lines that were written as a whole: storage says `InvalidBlobType`, of no name."""

    def use() -> None:
        path = f"{FOLDER}/metrics.jsonl"
        files.pipe_file(path, b"{}\n")
        file = files.open(path, "ab")
        file.write(b"{}\n")
        with pytest.raises(io.UnsupportedOperation, match=rf"{path}: was written as a whole \(BlockBlob\).* mode 'ab'"):
            file.close()
        assert files.cat_file(path) == b"{}\n"

    await asyncio.to_thread(use)
