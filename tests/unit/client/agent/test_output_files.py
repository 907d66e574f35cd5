"""Files that are written whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.children import start
from valetkey.cli.agent.output_files import remove, write_atomically
from valetkey.errors import ValetKeyError

WRITER = """
import sys
from pathlib import Path
from valetkey.cli.agent.output_files import write_atomically
path = Path(sys.argv[1])
print("begins", flush=True)
while True:
    for letter in "abcdefgh":
        write_atomically(path, letter * 300_000, mode=0o600)
"""


def test_who_reads_while_it_is_killed_sees_whole_files(tmp_path: Path) -> None:
    """Protects readers from half a token: while it is written over and over, and when the writer dies at any moment."""
    (tmp_path / "folder").mkdir()
    path, wrong, seen = tmp_path / "folder" / "out", [], set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            if path.exists():
                text = path.read_text()
                seen.add(text[:1])
                if len(text) != 300_000 or len(set(text)) != 1:
                    wrong.append((len(text), set(text)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(2):
            seen.clear()
            writer = start([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begins\n"
            while len(seen) < 3:
                time.sleep(0.01)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
    finally:
        over.set()
        reader.join()
    assert wrong == []
    # What was left of the last write goes with the next one.
    write_atomically(path, "x", mode=0o600)
    assert [each.name for each in path.parent.iterdir()] == ["out"]


def test_removing_takes_along_what_a_killed_write_has_left(tmp_path: Path) -> None:
    """Protects `remove_on_exit`: half a token is a token, too. A folder that has gone is no error."""
    path, beside = tmp_path / "out", tmp_path / ".out.valetkey-new"
    for each in (path, beside):
        each.write_text("sig")
    remove(path)
    assert not path.exists()
    assert not beside.exists()
    remove(tmp_path / "none" / "out")


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (Path.mkdir, "it is a directory; expected a file, or nothing yet"),
        (os.mkfifo, "it is no plain file; expected"),
        (lambda path: path.symlink_to("nowhere"), "it is a symbolic link; expected"),
    ],
)
def test_only_files_are_written_over(what: object, says: str, tmp_path: Path) -> None:
    """Protects what stands there and is no file: a pipe's reader would wait for ever."""
    what(tmp_path / "out")  # type: ignore[operator]
    with pytest.raises(ValetKeyError, match=says):
        write_atomically(tmp_path / "out", "x", mode=0o600)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValetKeyError, match="cannot be written: Not a directory"):
        write_atomically(tmp_path / "file" / "out", "x", mode=0o600)


def test_a_group_that_may_not_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects who runs as somebody else than root: the message says who may, and nothing is left."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(ValetKeyError, match="a group can be given by its members and by root only"):
        write_atomically(tmp_path / "out", "x", mode=0o640, gid=1)
    assert [path for path in tmp_path.iterdir() if "out" in path.name] == []
