"""Files that others rotate: every way in which they are replaced is seen, and no half of a change is used."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.watched_files import WatchedFiles, watched_files
from valetkey_broker.watched_files.watched_files import _MOST_BYTES


def pair(contents: Mapping[str, bytes]) -> tuple[str, str]:
    """Makes a value of a certificate and a key that belong together where both end with the same number."""
    certificate, key = contents["cert"].decode(), contents["key"].decode()
    if not certificate or certificate[-1:] != key[-1:]:
        raise ConfigurationError("the two do not belong together")
    return certificate, key


class InPlace:
    """Written over, as an editor or a shell's `>` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, **contents: str) -> None:
        for name, content in contents.items():
            (self.folder / name).write_text(content)


class Renamed(InPlace):
    """Written beside and renamed over, as certbot and careful programs do."""

    def put(self, **contents: str) -> None:
        for name, content in contents.items():
            (self.folder / f".{name}").write_text(content)
            (self.folder / f".{name}").replace(self.folder / name)


class Mounted(InPlace):
    """Kubernetes' way with a mounted secret: links to `..data/NAME`, and `..data` is itself a link that is swapped."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.turn = 0

    def put(self, **contents: str) -> None:
        self.turn += 1
        kept = {file.name: file.read_text() for file in self.folder.glob("..data/*")}
        (self.folder / f"..{self.turn}").mkdir()
        for name, content in {**kept, **contents}.items():
            (self.folder / f"..{self.turn}" / name).write_text(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..new").symlink_to(f"..{self.turn}")
        (self.folder / "..new").replace(self.folder / "..data")


class Copied(InPlace):
    """Copied with the old modification time and the same length, as `cp -p` and `rsync -t` may."""

    def put(self, **contents: str) -> None:
        super().put(**contents)
        for name in contents:
            os.utime(self.folder / name, (1_000_000_000, 1_000_000_000))


WAYS = [InPlace, Renamed, Mounted, Copied]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> InPlace:
    """A folder with cert-1 and key-1, and a way to change it."""
    made: InPlace = request.param(tmp_path)
    made.put(cert="cert-1", key="key-1")
    return made


def watched(way: InPlace, check_seconds: float = 0.0) -> WatchedFiles[tuple[str, str]]:
    """Returns the pair in the folder, looked at at every call unless told otherwise."""
    return WatchedFiles(
        "the pair", {name: way.folder / name for name in ("cert", "key")}, pair, check_seconds=check_seconds
    )


def test_change_is_in_use(way: InPlace) -> None:
    """However a file is replaced, its new content counts without a restart, and the log says so once."""
    files = watched(way)
    first = files.current()
    assert files.current() is first
    with capture_logs() as lines:
        way.put(cert="cert-2", key="key-2")
        assert [files.current() for _ in range(3)] == [("cert-2", "key-2")] * 3
    assert [line["event"] for line in lines] == ["a changed file is in use"]
    assert lines[0]["what"] == "the pair"


def test_half_of_a_change_leaves_the_old_pair(way: InPlace) -> None:
    """A new certificate without its key is not used; an error is logged once, and once more that all is well."""
    files = watched(way)
    files.current()
    with capture_logs() as lines:
        way.put(cert="cert-2")
        assert [files.current() for _ in range(3)] == [("cert-1", "key-1")] * 3
        way.put(key="key-2")
        assert files.current() == ("cert-2", "key-2")
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "a changed file cannot be used; the old content stays"),
        ("info", "a changed file is in use"),
        ("info", "the files can be used again"),
    ]
    assert lines[0]["error"] == "the two do not belong together"


def test_emptied_file_leaves_the_old_content(way: InPlace) -> None:
    """Between a writer's truncation and its first byte the file is empty: nobody is locked out by that."""
    files = watched(way)
    first = files.current()
    way.put(cert="")
    assert files.current() is first


def test_taken_back_change_is_mended(way: InPlace) -> None:
    """An operator who undoes a bad change reads that it is mended; the value was the same all the time."""
    files = watched(way)
    first = files.current()
    with capture_logs() as lines:
        way.put(cert="cert-2")
        files.current()
        way.put(cert="cert-1")
        assert files.current() is first
    assert [line["log_level"] for line in lines] == ["error", "info"]


def test_rewritten_with_the_same_content_is_no_change(way: InPlace) -> None:
    """A tool that writes the same file every minute causes no new connection and no line in the log."""
    files = watched(way)
    first = files.current()
    with capture_logs() as lines:
        way.put(cert="cert-1", key="key-1")
        assert files.current() is first
    assert lines == []


def test_two_changes_within_one_tick_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file read between two writes that its times cannot tell apart is read once more."""
    way = InPlace(tmp_path)
    way.put(cert="cert-1", key="key-1")
    files = watched(way)
    files.current()
    # As on a file system with coarse times: all that can be seen of the file stays the same.
    stamp = files._stamps
    monkeypatch.setattr("valetkey_broker.watched_files.watched_files._stamp", lambda _path: (10**19, 0, 6, 1))
    way.put(cert="cert-2", key="key-2")
    assert files.current() == ("cert-2", "key-2")
    way.put(cert="cert-3", key="key-3")
    assert files.current() == ("cert-3", "key-3")
    assert stamp is None


def test_missing_file_leaves_the_old_content(tmp_path: Path) -> None:
    """A file that is gone, and one that stands in another's place as a folder, are told and lock nobody out."""
    way = InPlace(tmp_path)
    way.put(cert="cert-1", key="key-1")
    files = watched(way)
    first = files.current()
    with capture_logs() as lines:
        (tmp_path / "key").unlink()
        assert files.current() is first
        (tmp_path / "key").mkdir()
        assert files.current() is first
        (tmp_path / "key").rmdir()
        way.put(key="key-1")
        assert files.current() is first
    assert [line["log_level"] for line in lines] == ["error", "error", "info"]
    assert lines[0]["error"] == f"key: {tmp_path}/key: cannot be read: No such file or directory"


def test_permissions_set_right_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be read is tried again though nothing of it looks changed: a folder above it may have."""
    way = InPlace(tmp_path)
    way.put(cert="cert-1", key="key-1")
    files = watched(way)
    files.current()
    way.put(cert="cert-2", key="key-2")
    monkeypatch.setattr("valetkey_broker.watched_files.watched_files._stamp", lambda _path: (1, 1, 6, 1))
    opened = watched_files._without_waiting

    def forbidden(path: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(watched_files, "_without_waiting", forbidden)
    assert files.current() == ("cert-1", "key-1")
    monkeypatch.setattr(watched_files, "_without_waiting", opened)
    assert files.current() == ("cert-2", "key-2")


def test_nothing_good_yet(tmp_path: Path) -> None:
    """Where there was never a good file, the error says which one it is; the next good one is used."""
    way = InPlace(tmp_path)
    files = watched(way, check_seconds=60.0)
    with pytest.raises(ConfigurationError, match=rf"cert: {tmp_path}/cert: cannot be read: No such file"):
        files.current()
    way.put(cert="cert-1", key="key-1")
    assert files.current() == ("cert-1", "key-1")


def test_endless_file_is_refused(tmp_path: Path) -> None:
    """A setting that names a device or a log does not fill the memory."""
    (tmp_path / "cert").symlink_to("/dev/zero")
    (tmp_path / "key").write_text("key-1")
    with pytest.raises(ConfigurationError, match=f"cert: .* is over {_MOST_BYTES} bytes"):
        watched(InPlace(tmp_path)).current()


def test_a_pipe_in_a_files_place_holds_nobody_up(tmp_path: Path) -> None:
    """Opened as files are, it would wait for a writer, and with it every call that needs the value."""
    way = InPlace(tmp_path)
    way.put(cert="cert-1", key="key-1")
    files = watched(way)
    first = files.current()
    (tmp_path / "key").unlink()
    os.mkfifo(tmp_path / "key")
    with capture_logs() as logs:
        asking = threading.Thread(target=files.current, daemon=True)
        asking.start()
        asking.join(10)
        assert not asking.is_alive()
    assert "is a pipe; expected a file" in logs[0]["error"]
    assert files.current() is first


def test_files_are_looked_at_now_and_then_only(tmp_path: Path) -> None:
    """Who asks at every call costs one look a second, not one for each."""
    way = InPlace(tmp_path)
    way.put(cert="cert-1", key="key-1")
    files = watched(way, check_seconds=60.0)
    first = files.current()
    way.put(cert="cert-2", key="key-2")
    assert files.current() is first


def test_threads_see_whole_values_only(tmp_path: Path) -> None:
    """Several threads that ask while files change never get a mixture, and never an error."""
    way = Mounted(tmp_path)
    way.put(cert="cert-0", key="key-0")
    files = watched(way)
    files.current()
    done = threading.Event()
    seen: list[tuple[str, str]] = []

    def ask() -> None:
        while not done.is_set():
            seen.append(files.current())

    def each(action: Callable[[threading.Thread], None]) -> None:
        for thread in threads:
            action(thread)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    each(threading.Thread.start)
    for turn in range(1, 10):
        way.put(cert=f"cert-{turn}", key=f"key-{turn}")
    while not seen or seen[-1] != ("cert-9", "key-9"):
        time.sleep(0.01)
    done.set()
    each(threading.Thread.join)
    assert {certificate[-1] == key[-1] for certificate, key in seen} == {True}
