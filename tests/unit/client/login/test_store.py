"""Log-ins on disk: nobody else's, all of one or nothing, one change at a time."""

import os
import stat
import threading
from pathlib import Path

import pytest

from support.fake_issuer import FakeIssuer, Keep
from valetkey import SettingsError
from valetkey.errors import UnavailableError
from valetkey.login import store
from valetkey.login.store import locked, read_login, write_login


def test_what_is_kept_is_read_again_and_shows_no_token(keep: Keep, path: Path) -> None:
    """All of a log-in comes back; its repr has neither token."""
    login = keep()
    assert read_login(path) == login
    assert login.tokens is not None
    assert login.tokens.access not in repr(login)
    assert "refresh-0" not in repr(login)


def test_files_are_their_users_alone(keep: Keep, path: Path) -> None:
    """0600 in 0700, whatever the umask; and nothing is left beside it."""
    before = os.umask(0)
    try:
        keep()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["login.json"]


def test_a_file_that_others_can_read_is_not_believed(keep: Keep, path: Path) -> None:
    """A token that somebody else may have seen, or written, is used by nobody."""
    keep()
    path.chmod(0o644)
    with pytest.raises(SettingsError, match=r"yours alone \(mode 0600\).* valetkey logout, then valetkey login"):
        read_login(path)


def test_a_link_is_neither_followed_nor_written_through(keep: Keep, path: Path, tmp_path: Path) -> None:
    """A symbolic link in the file's place is refused when read, and replaced, itself, when written."""
    login = keep()
    victim = tmp_path / "victim"
    path.rename(victim)
    before = victim.read_bytes()
    path.symlink_to(victim)
    with pytest.raises(SettingsError, match="is a symbolic link"):
        read_login(path)
    write_login(path, login)
    assert not path.is_symlink()
    assert victim.read_bytes() == before


@pytest.mark.parametrize("place", ["link", "file", "open"])
def test_a_folder_that_is_not_ones_own_is_refused(keep: Keep, path: Path, tmp_path: Path, place: str) -> None:
    """Nothing is written into a folder behind a link, or that others can look into."""
    login = keep()
    path.unlink()
    path.parent.rmdir()
    if place == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.parent.symlink_to(tmp_path / "elsewhere")
    elif place == "file":
        path.parent.write_text("")
    else:
        path.parent.mkdir(mode=0o755)
    with pytest.raises(
        SettingsError, match="chmod 700" if place == "open" else r"not a folder of yours|cannot be made"
    ):
        write_login(path, login)
    assert not (tmp_path / "elsewhere" / "login.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"offer": 1}', b"[" * 50_000, b"x" * 100_000, b"null"]
)
def test_what_is_no_log_in_is_said_to_be_none(path: Path, content: bytes) -> None:
    """A file that was cut off or written by something else is a sentence, and not a traceback."""
    store.make_private_folder(path.parent)
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="does not hold what valetkey login writes"):
        read_login(path)


def test_a_pipe_in_its_place_keeps_nobody_waiting(path: Path) -> None:
    """Whoever put a pipe there does not hang every command."""
    store.make_private_folder(path.parent)
    os.mkfifo(path, 0o600)
    with pytest.raises(SettingsError, match="not a file of yours alone"):
        read_login(path)


def test_a_write_that_fails_leaves_what_was_there(
    keep: Keep, path: Path, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs neither the log-in before nor leaves half of one beside it."""
    login = keep()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="cannot be written: No space left on device"):
        write_login(path, login)
    assert read_login(path) == login
    assert [each.name for each in path.parent.iterdir()] == ["login.json"]


def test_one_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock holds between threads as between processes; who does not want to wait, or for too long, is told."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path) as mine:
            assert mine
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(60)
    with locked(path, wait=False) as mine:
        assert not mine
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.1)
    with pytest.raises(UnavailableError, match="has held the lock"), locked(path):
        raise AssertionError
    leave.set()
    thread.join()
    with locked(path) as mine:
        assert mine
