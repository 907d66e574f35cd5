"""API keys and settings on a whole stack: who is let in, who is not, and how the user is told."""

import stat
import subprocess
import time
from pathlib import Path

import pytest

from support.cli_runner import Ran
from support.e2e import BROKER, CONNECTOR, DEMO, Cli, Live, soon, unique

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]

ISSUE = ("token", "issue", "--resource", DEMO, "--permissions", "read")


def holder(live: Live, file: Path) -> Cli:
    """Returns the command line in the hands of whoever holds the key in `file`."""
    return live.cli(VALETKEY_API_KEY_FILE=str(file))


def make_key(live: Live, file: Path, *, role: str = "", ttl: str = "1h") -> str:
    """Creates an API key in `file`, one without a role together with a grant, and returns its name."""
    name = unique("key")
    live.admin.done("api-key", "create", name, *(("--role", role) if role else ()), "--ttl", ttl, "--out", file)
    if not role:
        live.allow(CONNECTOR, f"key:{name}")
    return name


def test_a_stack_component_may_use_what_it_is_granted_and_no_more(live: Live, registered: Ran, tmp_path: Path) -> None:
    """A key without roles gets tokens by its grant; another connector, or managing any, is refused."""
    file = tmp_path / "key"
    make_key(live, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    consumer = holder(live, file)
    assert consumer(*ISSUE).code == 0
    shown = consumer.done("service-connector", "list-resources", "-o", "json").json
    assert [entry["connector"] for entry in shown] == [CONNECTOR]
    other = live.new_connector()
    try:
        ran = consumer(*ISSUE, "--connector", other)
        assert (ran.code, ran.out) == (3, "")
        assert "reason RESOURCE_DENIED" in ran.err
        unknown = consumer(*ISSUE, "--connector", "nobody-has-this")
        assert unknown.err.splitlines()[0] == ran.err.splitlines()[0].replace(other, "nobody-has-this")
        for arguments in (("delete", other, "--yes"), ("verify", other)):
            denied = consumer("service-connector", *arguments)
            assert denied.code == 3
            assert "reason ROLE_REQUIRED" in denied.err
        assert other in live.admin.names()
    finally:
        live.delete(other)


def test_revoked_key_stops_working(live: Live, registered: Ran, tmp_path: Path) -> None:
    """After `api-key revoke` the key opens nothing, and its name is no longer listed."""
    file = tmp_path / "key"
    name = make_key(live, file)
    consumer = holder(live, file)
    assert consumer(*ISSUE).code == 0
    live.admin.done("api-key", "revoke", name, "--yes")
    ran = consumer(*ISSUE)
    assert (ran.code, ran.out) == (3, "")
    assert "reason CREDENTIALS_INVALID" in ran.err
    assert file.read_text().strip() not in ran.err
    assert name not in [key["name"] for key in live.admin.done("api-key", "list", "-o", "json").json]


def test_a_rotated_key(live: Live, registered: Ran, tmp_path: Path) -> None:
    """Whoever holds the key gets on with either for the overlap; then the old one ends by itself, and is told why."""
    old, new = tmp_path / "key", tmp_path / "new"
    name = make_key(live, old)
    rotated = live.admin.done("api-key", "rotate", name, "--overlap", "8s", "--out", new, "-o", "json").json
    assert rotated["rotated_by"] == "key:admin"
    assert (holder(live, old)(*ISSUE).code, holder(live, new)(*ISSUE).code) == (0, 0)
    # In its last second a key is good, and no token can be made that ends with it.
    assert soon(lambda: "it was rotated: use the new one" in holder(live, old)(*ISSUE).err, 60)
    assert holder(live, old)(*ISSUE).code == 3
    assert holder(live, new)(*ISSUE).code == 0


def test_expired_key(live: Live, registered: Ran, tmp_path: Path) -> None:
    """A key that has lived its time is refused, and its holder is told that this is why."""
    file = tmp_path / "key"
    made = time.monotonic()
    make_key(live, file, ttl="2s")
    consumer = holder(live, file)
    assert soon(lambda: consumer(*ISSUE).code == 3, seconds=30)
    assert time.monotonic() - made > 1
    assert "reason CREDENTIALS_EXPIRED" in consumer(*ISSUE).err


def test_wrong_or_missing_key(live: Live, registered: Ran, tmp_path: Path) -> None:
    """A key nobody admitted is refused by the broker, one that cannot be one or is missing by the command itself."""
    wrong = live.cli(VALETKEY_API_KEY_FILE="", VALETKEY_API_KEY="vk_" + "A" * 43)(*ISSUE)
    assert (wrong.code, wrong.out) == (3, "")
    assert "reason CREDENTIALS_INVALID" in wrong.err
    assert "A" * 43 not in wrong.err
    missing = live.cli(VALETKEY_API_KEY_FILE="")(*ISSUE)
    assert (missing.code, missing.out) == (2, "")
    assert "VALETKEY_API_KEY" in missing.err
    no_file = live.cli(VALETKEY_API_KEY_FILE=str(tmp_path / "none"))(*ISSUE)
    assert no_file.code == 2
    assert f"there is no file {tmp_path / 'none'}" in no_file.err


def test_roles(live: Live, registered: Ran, tmp_path: Path) -> None:
    """A viewer looks and does not touch: no token, no registration, no keys."""
    file = tmp_path / "key"
    make_key(live, file, role="viewer")
    viewer = holder(live, file)
    assert CONNECTOR in viewer.names()
    for arguments, reason in (
        (ISSUE, "RESOURCE_DENIED"),
        (("service-connector", "delete", CONNECTOR, "--yes"), "ROLE_REQUIRED"),
        (("api-key", "list"), "ROLE_REQUIRED"),
        (("grant", "list"), "ROLE_REQUIRED"),
    ):
        ran = viewer(*arguments)
        assert (ran.code, ran.out) == (3, "")
        assert f"reason {reason}" in ran.err


def test_second_bootstrap_is_refused(live: Live, tmp_path: Path) -> None:
    """The first admin key is made once; the command that makes it cannot be used to get in later."""
    done = subprocess.run(
        [BROKER, "bootstrap", "--config", live.stack.settings_file, "--name", "second", "--out", tmp_path / "key"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: " in done.stderr
    assert not (tmp_path / "key").exists()
    assert "second" not in [key["name"] for key in live.admin.done("api-key", "list", "-o", "json").json]


def test_settings_from_options_and_a_file(live: Live, registered: Ran, tmp_path: Path) -> None:
    """The same three settings serve from the command line and from the config file, without any environment."""
    bare = Cli({"HOME": str(tmp_path)})
    endpoint = f"127.0.0.1:{live.stack.ports.broker}"
    options = ("--endpoint", endpoint, "--ca-file", live.stack.ca_file, "--api-key-file", live.secret_files.admin_key)
    assert bare(*options, "service-connector", "list").code == 0
    config = tmp_path / ".config" / "valetkey" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'endpoint = "{endpoint}"\nca_file = "{live.stack.ca_file}"\napi_key_file = "{live.secret_files.admin_key}"\n'
    )
    assert bare("service-connector", "list").code == 0


def test_broker_that_cannot_be_reached_or_trusted(live: Live) -> None:
    """Nobody at the endpoint is exit 5, worth another try; a certificate not trusted is exit 2, and is not."""
    from valetkey_devstack.free_ports import free_port

    away = live.cli(VALETKEY_ENDPOINT=f"127.0.0.1:{free_port()}")("service-connector", "list")
    assert (away.code, away.out) == (5, "")
    assert "cannot reach the broker" in away.err
    untrusted = live.cli(VALETKEY_CA_FILE="")("service-connector", "list")
    assert (untrusted.code, untrusted.out) == (2, "")
    assert "not signed by a CA this client trusts" in untrusted.err
