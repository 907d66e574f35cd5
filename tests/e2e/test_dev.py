"""`valetkey-broker dev`: up in seconds, usable as it says, and nothing is left of it, however it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.dev_command import Dev, dev
from support.e2e import DEMO, soon, user_environment
from support.processes import alive, read_process
from support.spiffe import SpiffeCa
from support.token_commands import watching

ROOT = Path(__file__).parents[2]
ISSUE = ("token", "issue", "--resource", DEMO, "--permissions", "read")


def ctrl_c(stack: Dev) -> None:
    stack.press_ctrl_c()


def sigterm(stack: Dev) -> None:
    os.kill(stack.process.pid, signal.SIGTERM)


@pytest.mark.parametrize(("end", "workers"), [(ctrl_c, 1), (sigterm, 2)])
def test_ends_with_all_its_children(tmp_path: Path, end: Callable[[Dev], None], workers: int) -> None:
    """Ready in seconds; the commands it prints work; Ctrl-C or SIGTERM ends every child, exit 0, and the streams of
    callers with the reason.
    """
    with dev(tmp_path / "stack", "--workers", str(workers)) as stack:
        assert stack.wait_until_ready() < 120
        children = stack.tree()
        assert len(children) >= (3 if workers == 1 else 5)  # OpenBao, Azurite, the broker; two workers below it.
        valetkey = stack.cli()
        printed = [line.split() for line in stack.out.splitlines() if line.startswith("  valetkey ")]
        assert len(printed) == 4
        for command in printed:
            assert valetkey(*command[1:]).code == 0
        with watching(valetkey) as watch:
            watch.token()
            end(stack)
            assert "the broker stops" in watch.note()  # and it waits for another one, as long as its token lives
        assert stack.ended() == 0
        assert alive(children) == []
        assert stack.left() == []


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A stack that is up, for tests that leave it so."""
    with dev(tmp_path_factory.mktemp("up") / "stack", "--console", "--console-port", "0") as stack:
        stack.wait_until_ready()
        yield stack


@pytest.mark.xdist_group("e2e-dev")
def test_prints_what_works(up: Dev) -> None:
    """The exports on the screen are those of env.sh, private to the user; the consumer's key and the service
    principal do what the text says.
    """
    script = up.directory / "env.sh"
    assert script.stat().st_mode & 0o077 == 0
    printed = [line.strip() for line in up.out.splitlines() if line.startswith("  export ")]
    assert printed == script.read_text().splitlines()
    assert (up.directory / "keys" / "admin").read_text().strip() not in up.out + up.err
    valetkey = up.cli()
    options = next(line.split() for line in up.out.splitlines() if line.startswith("  --tenant-id"))
    options[-1] = f"@{up.directory / 'keys' / 'client-secret'}"
    registered = valetkey("service-connector", "register", "my-own", *options)
    assert (registered.code, registered.err) == (0, "")
    by_key = next(line.split() for line in up.out.splitlines() if line.startswith("  --storage-account"))
    by_key[-1] = f"@{up.directory / 'keys' / 'account-key'}"
    by_string = ("--connection-string", f"@{up.directory / 'keys' / 'connection-string'}")
    for name, given in (("by-key", by_key), ("by-string", by_string)):
        ran = valetkey("service-connector", "register", name, *given)
        assert (ran.code, ran.err) == (0, "")
        assert "az://demo-models" in ran.out
    consumer = str(up.directory / "keys" / "consumer")
    own_key = {"VALETKEY_API_KEY": "", "VALETKEY_API_KEY_FILE": consumer}
    assert valetkey(*ISSUE, **own_key).code == 0
    assert valetkey(*ISSUE, "--connector", "my-own", **own_key).code == 3


# Does what a browser does: asks for the page, says on it who logs in, and goes where that leads.
_BROWSER = """
import ssl, sys, urllib.request
_, ca_file, person, url = sys.argv
trust = ssl.create_default_context(cafile=ca_file)
urllib.request.urlopen(url, context=trust).close()
urllib.request.urlopen(url, data=f"person={person}".encode(), context=trust).close()
"""


# The same, for the console: a cookie that is Secure goes to a loopback address in a browser, and here by hand.
_CONSOLE_BROWSER = """
import re, ssl, sys, urllib.request
_, ca_file, person, console = sys.argv
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_): return None
own = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
opener, cookies = urllib.request.build_opener(Stay, own), {"as-long-as-cookies-get": "x" * 14_000}
def ask(url, data=None):
    ours = url.startswith(console)
    kept = {"Cookie": "; ".join(f"{n}={v}" for n, v in cookies.items())} if ours else {}
    request = urllib.request.Request(url, data, kept)
    try:
        answer = opener.open(request)
    except urllib.error.HTTPError as error:
        answer = error
    for each in answer.headers.get_all("Set-Cookie") or ():
        name, value = each.partition(";")[0].split("=", 1)
        cookies[name] = value
    return answer.headers.get("Location"), answer.read().decode()
_, page = ask(console + "login")
issuer, _ = ask(console.rstrip("/") + re.search('href="(/login/at[^"]*)"', page)[1].replace("&amp;", "&"))
back, _ = ask(issuer, f"person={person}".encode())
home, _ = ask(back)
print(ask(console.rstrip("/") + home)[1])
"""


@pytest.mark.xdist_group("e2e-dev")
def test_the_console_that_it_prints(up: Dev, tmp_path: Path) -> None:
    """People log in there at the stand-in for Entra, and see what their role lets them see; its log has no code."""
    found = re.search(r"The console is at (http://127\.0\.0\.1:\d+/) ", up.out)
    assert found, up.out
    script = tmp_path / "browser.py"
    script.write_text(_CONSOLE_BROWSER)
    run = [sys.executable, script, up.directory / "tls" / "ca.pem", "vera", found[1]]
    ran = subprocess.run(run, capture_output=True, text=True, check=False, timeout=240, env=user_environment())
    assert "vera@example.org" in ran.stdout, ran.stderr
    assert "The broker answers." in ran.stdout
    log = (up.directory / "logs" / "console.log").read_text()
    assert "GET /login/callback 303" in log
    assert "code=" not in log


@pytest.mark.xdist_group("e2e-dev")
def test_people_log_in(up: Dev, tmp_path: Path) -> None:
    """Who logs in at the stand-in for Entra is known to the broker, with the role and the grants that are theirs; an
    old token is renewed by itself; after the log-out nobody is known.
    """
    script = tmp_path / "browser.py"
    script.write_text(_BROWSER)
    valetkey = up.cli()
    own = {"VALETKEY_API_KEY": "", "XDG_STATE_HOME": str(tmp_path / "state")}
    roles = {}
    for person in ("ada", "sam"):
        browser = f"{sys.executable} {script} {up.directory / 'tls' / 'ca.pem'} {person} %s"
        done = valetkey("login", "-o", "json", **own, BROWSER=browser)
        assert done.code == 0, done.err
        roles[person] = done.json["roles"]
        assert valetkey(*ISSUE, **own).code == 0
        assert valetkey("grant", "list", **own).code == (0 if person == "ada" else 3)
    assert roles == {"ada": ["admin"], "sam": []}
    (file,) = (tmp_path / "state").rglob("login.json")
    values = json.loads(file.read_text())
    values["tokens"] |= {"received_at": 1.0, "expires_at": 2.0}
    file.write_text(json.dumps(values))
    assert valetkey("whoami", "-o", "json", **own).json["attributes"]["user"] == "sam@example.org"
    assert json.loads(file.read_text())["tokens"]["refresh"] != values["tokens"]["refresh"]
    left = valetkey("logout", **own)
    assert left.code == 0
    assert "the issuer has no way to revoke" in left.err  # as it is with Entra
    assert valetkey("whoami", **own).code == 2


@pytest.mark.xdist_group("e2e-dev")
def test_the_first_five_minutes(up: Dev, tmp_path: Path) -> None:
    """docs/start.md, block after block in one shell: each does what the page says of it, and none fails."""
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".valetkey-dev").symlink_to(up.directory)
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert "\n```\nmake dev\n```\n" in page
    assert len(blocks) == 8
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "echo =====\n".join(blocks)],
        cwd=tmp_path,
        env=user_environment({"HOME": str(tmp_path)}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    who, reached, listed, granted, limited, refused, record, revoked = done.stdout.split("=====\n")
    assert "key:admin" in who
    assert DEMO in reached
    assert "<EnumerationResults" in listed
    assert "my-step" in granted
    assert "grant" in limited.lower()
    assert "refused: exit code 3" in refused
    assert record.count("demo-zenmlartifactstore") >= 2
    assert "revoked: exit code 3" in revoked


@pytest.mark.xdist_group("e2e-dev")
def test_second_one_in_the_same_directory(up: Dev, tmp_path: Path) -> None:
    """A second start in the same directory is refused in words, and the first one does not notice."""
    welcome = up.out
    (tmp_path / "link").symlink_to(up.directory)  # The outputs of the second one go beside the link.
    with dev(tmp_path / "link") as second:
        assert second.ended() == 78
    assert "another dev stack is running there; stop it, or give this one another directory" in second.err
    assert "Traceback" not in second.err
    assert up.out == welcome
    assert up.cli()(*ISSUE).code == 0


@pytest.mark.unmeasured  # What is killed saves no coverage.
@pytest.mark.parametrize("workers", [1, 2])
def test_no_orphan_after_sigkill(tmp_path: Path, workers: int) -> None:
    """After `kill -9` of the command no process below it lives on: not OpenBao, not Azurite, no broker, no worker."""
    with dev(tmp_path / "stack", "--workers", str(workers)) as stack:
        stack.wait_until_ready()
        children = stack.tree()
        assert len(children) >= 2 + workers
        stack.process.kill()
        stack.ended()
        assert soon(lambda: not alive(children), seconds=30), alive(children)
        assert soon(lambda: not stack.left(), seconds=30)


@pytest.mark.xdist_group("e2e-dev")
def test_two_side_by_side(up: Dev, tmp_path: Path) -> None:
    """Two stacks in two directories have ports, keys and data of their own; the end of one leaves the other."""
    one = up
    with dev(tmp_path / "two") as two:
        two.wait_until_ready()
        first, second = one.cli(), two.cli()
        assert first.environment["VALETKEY_ENDPOINT"] != second.environment["VALETKEY_ENDPOINT"]
        foreign = {"VALETKEY_API_KEY": first.environment["VALETKEY_API_KEY"]}
        assert second("service-connector", "list", **foreign).code == 3
        second.done("service-connector", "delete", "azure-blob-demo", "--yes")
        assert "azure-blob-demo" in first.names()
        assert second.names() == []
        two.press_ctrl_c()
        assert two.ended() == 0
        assert first(*ISSUE).code == 0


def test_port_that_is_taken(tmp_path: Path) -> None:
    """A port in use is named, with whose it was to be and what to do, before anything starts."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        dev(tmp_path / "stack", "--azurite-port", str(taken.getsockname()[1])) as stack,
    ):
        assert stack.ended() == 78
        expected = f"Error: port {taken.getsockname()[1]} (azurite) is in use on 127.0.0.1; stop what listens there"
    assert expected in stack.err
    assert "Traceback" not in stack.err
    assert not stack.directory.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        ("[[authn.oidc]]\nissuer = 'https://issuer.example'\n", "authn.oidc.0.audience: is needed: without it"),
        (
            "[vault]\nmount = 'mine'\n",
            "vault: is the dev stack's own and cannot be set here; expected settings such as",
        ),
    ],
)
def test_settings_that_cannot_be_added(tmp_path: Path, text: str | None, problem: str) -> None:
    """A file that is missing, wrong, or reaches for what is the stack's own is named, before anything starts."""
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    with dev(tmp_path / "stack", "--with", str(file)) as stack:
        assert stack.ended() == 78
    assert stack.err.startswith(f"Error: {file}: {problem}")
    assert len(stack.err.splitlines()) == 1
    assert not stack.directory.exists()


def test_certificate_port_that_is_taken(tmp_path: Path) -> None:
    """The port that was added for client certificates is looked at like the stack's own ports."""
    (tmp_path / "ca.pem").write_bytes(SpiffeCa().pem)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "mine.toml").write_text(
            f"[authn.mtls]\nport = {port}\ntrust_domains = {{ 'example.org' = 'ca.pem' }}\n"
        )
        with dev(tmp_path / "stack", "--with", str(tmp_path / "mine.toml")) as stack:
            assert stack.ended() == 78
    assert f"Error: port {port} (client certificates) is in use on 127.0.0.1" in stack.err


@pytest.mark.parametrize("child", ["openbao/openbao.json", "azurite", "broker.toml"])
def test_ctrl_c_while_it_starts(tmp_path: Path, child: str) -> None:
    """Ctrl-C as soon as the first child is there, or the last one, ends what has started; no traceback."""
    with dev(tmp_path / "stack") as stack:
        marker = str(stack.directory / child)

        def started() -> bool:
            return bool(_running_with(stack, marker))

        assert soon(started, seconds=120), stack.err
        children = stack.tree()
        stack.press_ctrl_c()
        assert stack.ended() == 0, stack.err
        assert "Traceback" not in stack.err
        assert "Ready" not in stack.out
        assert alive(children) == []
        assert stack.left() == []


def _running_with(stack: Dev, text: str) -> list[int]:
    return [pid for pid in stack.tree() if text.encode() in read_process(pid, "cmdline")]
