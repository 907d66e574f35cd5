"""`valetkey api-key` against a fake broker."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_broker import Failure, FakeBroker

CREATE = ("api-key", "create", "trainer", "--role", "auditor", "--role", "viewer")


def test_a_key_is_made_here_and_shown_once(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the secret: the broker gets its hash, the person gets it on the last line."""
    ran = valetkey(*CREATE, "--ttl", "30d")
    assert ran.code == 0
    key = ran.out.splitlines()[-1]
    assert re.fullmatch(r"vk_[A-Za-z0-9_-]{43}", key)
    assert ran.err.startswith("Note: the key is shown this once")
    (request,) = broker.requests
    assert request.key_sha256 == hashlib.sha256(key.encode()).digest()
    assert key.encode() not in request.SerializeToString()
    assert list(request.roles) == [4, 3]
    left = request.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_a_key_as_json(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects scripts, and the default of 90 days."""
    answer = valetkey(*CREATE, "-o", "json").json
    assert broker.requests[0].key_sha256 == hashlib.sha256(answer["api_key"].encode()).digest()
    assert answer["roles"] == ["auditor", "viewer"]
    left = broker.requests[0].expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert left.days in (89, 90)


def test_a_key_into_a_file(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects the key from the screen and from other users; an existing file is never overwritten."""
    path = tmp_path / "trainer.key"
    ran = valetkey(*CREATE, "--out", str(path))
    assert ran.code == 0
    assert "vk_" not in ran.out + ran.err
    assert path.stat().st_mode & 0o777 == 0o600
    assert broker.requests[0].key_sha256 == hashlib.sha256(path.read_bytes().strip()).digest()
    before = path.read_bytes()
    again = valetkey(*CREATE, "--out", str(path))
    assert (again.code, again.err) == (2, f"Error: --out: {path} exists; expected the name of a new file\n")
    assert path.read_bytes() == before
    assert len(broker.requests) == 1
    other = tmp_path / "other.key"
    assert valetkey(*CREATE, "--out", str(other), "-o", "json").json["api_key_file"] == str(other)


def test_a_file_that_cannot_be_written(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects against a key the broker knows and nobody has."""
    ran = valetkey(*CREATE, "--out", str(tmp_path / "missing" / "key"))
    assert ran.code == 2
    assert "cannot be written: No such file or directory" in ran.err
    assert broker.requests == []


@pytest.mark.parametrize(
    ("code", "kept"), [(grpc.StatusCode.ALREADY_EXISTS, False), (grpc.StatusCode.DEADLINE_EXCEEDED, True)]
)
def test_the_file_goes_when_the_key_was_refused(
    code: grpc.StatusCode, kept: bool, valetkey: Runner, broker: FakeBroker, tmp_path: Path
) -> None:
    """Protects against a file with a useless key, and against losing one that may have been admitted."""
    broker.failures["CreateApiKey"] = Failure(code, "no")
    path = tmp_path / "key"
    assert valetkey(*CREATE, "--out", str(path)).code != 0
    assert path.exists() is kept


def test_list_and_revoke(valetkey: Runner) -> None:
    """Protects what an admin sees of keys, and the end of one."""
    valetkey(*CREATE)
    assert "trainer │ auditor, viewer │" in valetkey("api-key", "list").out
    (key,) = valetkey("api-key", "list", "-o", "json").json
    assert (key["name"], key["roles"]) == ("trainer", ["auditor", "viewer"])
    assert "vk_" not in str(key)
    assert valetkey("api-key", "revoke", "trainer", "--yes").out == "Revoked API key `trainer`.\n"
    assert valetkey("api-key", "list", "-o", "json").json == []
    again = valetkey("api-key", "revoke", "trainer", "--yes")
    assert (again.code, "trainer" in again.err) == (4, True)
    valetkey(*CREATE)
    assert valetkey("api-key", "revoke", "trainer", "--yes", "-o", "json").json == {"revoked": "trainer"}


def test_a_key_that_would_outlive_the_calendar(valetkey: Runner) -> None:
    """Protects against an overflow that would end in a traceback."""
    ran = valetkey(*CREATE, "--ttl", "99999999d")
    assert ran.code == 2
    assert ran.err.startswith("Error: --ttl: 99999999d ends after the year 9999")


def test_an_unknown_role(valetkey: Runner) -> None:
    """Protects against typing slips in what a key may do."""
    ran = valetkey("api-key", "create", "x", "--role", "king")
    assert ran.code == 2
    assert "'auditor'" in ran.err


def test_a_key_without_a_role_is_a_stack_components(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the usual key from looking broken: it has no role, and the next step is named."""
    ran = valetkey("api-key", "create", "trainer")
    assert ran.code == 0
    assert list(broker.requests[0].roles) == []
    assert "gets what grants say: valetkey grant create … --principal key:trainer" in ran.err
    assert valetkey("api-key", "create", "x", "--connector", "a").code == 2


def test_rotating_a_key(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the new secret, which the broker gets the hash of, and what people see of the old one's end."""
    valetkey(*CREATE)
    ran = valetkey("api-key", "rotate", "trainer", "--overlap", "2h")
    key = ran.out.splitlines()[-1]
    request = broker.requests[-1]
    assert request.key_sha256 == hashlib.sha256(key.encode()).digest()
    assert (request.overlap.seconds, request.HasField("expire_time")) == (7200, False)
    assert re.search(r"key of before\W+good until 20[0-9]{2}-", ran.out)
    (listed,) = valetkey("api-key", "list", "-o", "json").json
    assert (listed["rotated_by"], listed["overlap_end_time"][:10]) == ("key:admin", listed["rotate_time"][:10])
    ended = valetkey("api-key", "rotate", "trainer", "--overlap", "0s", "--ttl", "30d", "-o", "json").json
    request = broker.requests[-1]
    assert request.key_sha256 == hashlib.sha256(ended["api_key"].encode()).digest()
    assert request.HasField("overlap"), "left out, the broker would not know that it is meant"
    left = request.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_rotating_the_key_in_a_file(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects whoever reads the file: it holds the old key or the new one, never half, and none that was refused."""
    path = tmp_path / "key"
    valetkey(*CREATE, "--out", str(path))
    old = path.read_bytes()
    rotate = ("api-key", "rotate", "trainer", "--replace", str(path))
    broker.failures["RotateApiKey"] = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no")
    assert valetkey(*rotate).code == 1
    assert (path.read_bytes(), list(tmp_path.glob("*.new"))) == (old, [])
    del broker.failures["RotateApiKey"]
    ran = valetkey(*rotate)
    assert (ran.code, "vk_" in ran.out + ran.err) == (0, False)
    assert path.read_bytes() != old
    assert path.stat().st_mode & 0o777 == 0o600
    # Whoever reads it may do so afterwards, by whichever name, and nobody else.
    link = tmp_path / "link"
    link.symlink_to(path)
    path.chmod(0o644)
    assert valetkey(*rotate[:-1], str(link)).code == 0
    assert (link.is_symlink(), path.stat().st_mode & 0o777) == (True, 0o640)
    assert broker.requests[-1].key_sha256 == hashlib.sha256(path.read_bytes().strip()).digest()
    for wrong in (("--replace", str(tmp_path / "none")), ("--replace", str(path), "--out", str(tmp_path / "x"))):
        assert valetkey("api-key", "rotate", "trainer", *wrong).code == 2


def test_a_rotation_whose_end_nobody_knows(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects an admin who rotates the only admin key: the new one is shown, or kept, though no answer came."""
    valetkey(*CREATE)
    broker.failures["RotateApiKey"] = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "late")
    ran = valetkey("api-key", "rotate", "trainer")
    assert ran.code == 5
    assert re.fullmatch(r"vk_[A-Za-z0-9_-]{43}", ran.out.splitlines()[-1])
    path = tmp_path / "key"
    valetkey(*CREATE, "--out", str(path))
    old = path.read_text()
    ran = valetkey("api-key", "rotate", "trainer", "--replace", str(path))
    assert (ran.code, path.read_text()) == (5, old)
    assert f"it is kept in {path}.new" in " ".join(ran.err.split())
    assert (tmp_path / "key.new").read_text().startswith("vk_")


def test_no_other_file_is_written_over(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects notes, other keys' only copies, and files of keys that ended, from a slip in the path."""
    for name in ("trainer", "other"):
        valetkey("api-key", "create", name, "--out", str(tmp_path / name))
    notes, unknown = tmp_path / "notes.txt", tmp_path / "unknown"
    notes.write_text("vk_ is how keys begin\n")
    unknown.write_text(f"vk_{'x' * 43}\n")
    for path, why in (
        (notes, "does not hold an API key"),
        (tmp_path / "other", "holds the key of key:other"),
        (unknown, "the broker does not know the key"),
    ):
        before = path.read_bytes()
        ran = valetkey("api-key", "rotate", "trainer", "--replace", str(path))
        assert (ran.code, path.read_bytes()) == (2, before)
        assert why in ran.err
        assert "--out" in ran.err
    assert not [each for each in broker.requests if type(each).__name__ == "RotateApiKeyRequest"]
    assert list(tmp_path.glob("*.new")) == []
    assert valetkey("api-key", "rotate", "trainer", "--replace", str(tmp_path / "trainer")).code == 0
