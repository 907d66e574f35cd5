"""`valetkey proxy` and `valetkey exec` against a fake broker, and what can be pasted."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from support.cli_runner import Runner
from support.fake_broker import SAS, FakeBroker
from support.watch_messages import end, step
from valetkey.cli import proxy_command, proxy_options, tool_access
from valetkey.cli.tool_access import FORMS, ToolAccess

ASK = ("--resource", "az://models", "--permissions", "read,list")
REAL = ToolAccess(
    "contosoml", "models", "https://contosoml.blob.core.windows.net", "sv=1&sp=rl&sig=S", ("read", "list")
)
PROXIED = ToolAccess(
    "contosoml", "models", "http://127.0.0.1:7/contosoml", "sig=S", ("read", "list"), through_proxy=True
)
# Writes its environment into a file.
SHOW = "import json,os,pathlib,sys;pathlib.Path(sys.argv[1]).write_text(json.dumps(dict(os.environ)))"


@pytest.fixture(autouse=True)
def _stream(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.stream = [step(1, life=3600)]

    async def unasked(*_: object) -> None:
        """No test asks the network for the address of a storage account."""

    monkeypatch.setattr(proxy_options, "check_certificate", unasked)


def test_exec_leads_a_command_to_the_proxy(valetkey: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Protects the command: it finds the proxy by the names each tool reads, and nothing that would win over it."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "left over")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "left over")
    file = tmp_path / "environment"
    assert valetkey("exec", *ASK, "--", sys.executable, "-c", SHOW, str(file)).code == 0
    found = json.loads(file.read_text())
    endpoint = found["AZURE_STORAGE_ENDPOINT"]
    assert endpoint.startswith("http://127.0.0.1:")
    assert endpoint.endswith("/contosoml")
    assert found["AZURE_STORAGE_CONNECTION_STRING"].startswith(f"BlobEndpoint={endpoint};SharedAccessSignature=")
    assert found["RCLONE_CONFIG_VALETKEY_SAS_URL"] == f"{endpoint}/models?{found['AZURE_STORAGE_SAS_TOKEN']}"
    assert found["AZURE_STORAGE_ACCOUNT_NAME"] == "contosoml"
    assert "left over" not in str(found)
    # The real token stays with the proxy.
    assert SAS.partition("sig=")[2] not in file.read_text()


def test_exec_without_a_proxy_gives_the_token(
    valetkey: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protects short commands where nothing may listen: the token itself, and a note that it ends."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "left over")
    file = tmp_path / "environment"
    ran = valetkey("exec", *ASK, "--no-proxy", "--", sys.executable, "-c", SHOW, str(file))
    found = json.loads(file.read_text())
    assert (ran.code, found["AZURE_STORAGE_SAS_TOKEN"]) == (0, SAS)
    assert found["AZURE_STORAGE_ENDPOINT"] == "https://contosoml.blob.core.windows.net"
    assert found["AZURE_STORAGE_CONNECTION_STRING"].startswith(f"BlobEndpoint={found['AZURE_STORAGE_ENDPOINT']};Sh")
    assert found["VALETKEY_STORAGE_URL"] == "https://contosoml.blob.core.windows.net/models"
    assert found["RCLONE_CONFIG_VALETKEY_SAS_URL"] == f"{found['VALETKEY_STORAGE_URL']}?{SAS}"
    assert "AZURE_ALLOW_HTTP" not in found
    assert "left over" not in str(found)
    assert "nothing renews it" in ran.err
    monkeypatch.setenv("VALETKEY_STORAGE_CA_FILE", "for all commands")
    assert valetkey("exec", *ASK, "--no-proxy", "--", "true").code == 0
    assert valetkey("exec", *ASK, "--no-proxy", "--storage-ca-file", "x", "--", "true").code == 2


def test_exec_keeps_the_callers_key_to_itself(
    valetkey: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protects all else that the caller may have: the command is for one container only."""
    monkeypatch.setenv("VALETKEY_API_KEY", os.environ.get("VALETKEY_API_KEY") or "vk_" + "P" * 43)
    file = tmp_path / "environment"
    for more, expected in (((), False), (("--keep-identity",), True), (("--no-proxy",), False)):
        ran = valetkey("exec", *ASK, *more, "--", sys.executable, "-c", SHOW, str(file))
        assert (ran.code, "VALETKEY_API_KEY" in json.loads(file.read_text())) == (0, expected), ran


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("/no/such/program",), 127),
        (("no-such-program-anywhere",), 127),
        (("/etc/passwd",), 126),
        # What looks like an option of ours is the command's.
        (("sh", "-c", 'test "$1" = --resource', "sh", "--resource", "--resource"), 0),
    ],
)
def test_the_exit_code_is_the_commands(valetkey: Runner, command: tuple[str, ...], code: int) -> None:
    """Protects scripts: they see the command's own end, and a shell's codes for what never ran."""
    assert valetkey("exec", *ASK, "--no-proxy", "--", *command).code == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_go_on_to_the_command(valetkey: Runner, tmp_path: Path, number: int) -> None:
    """Protects pods and Ctrl-C: the command may end in its own way, and is waited for."""
    script = (
        "import os,signal,sys,pathlib;"
        f"signal.signal({int(number)}, lambda *_: (pathlib.Path(sys.argv[1]).write_text('got it'), os._exit(9)));"
        f"os.kill(os.getppid(), {int(number)});signal.pause()"
    )
    told = tmp_path / "told"
    assert valetkey("exec", *ASK, "--no-proxy", "--", sys.executable, "-c", script, str(told)).code == 9
    assert told.read_text() == "got it"


def test_a_signal_while_the_command_starts(valetkey: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a command that is left behind by a pod that ends at once: it gets the signal as it is there."""
    real = asyncio.create_subprocess_exec

    async def create(*arguments: str, **named: Any) -> asyncio.subprocess.Process:
        process = await real(*arguments, **named)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL  # or the test's own process ends
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        return process

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "create_subprocess_exec", create)
        ran = valetkey("exec", *ASK, "--no-proxy", "--", "sleep", "600")
    assert ran.code == 128 + signal.SIGTERM
    # What nohup has ignored stays so, for the command as well.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ran = valetkey("exec", *ASK, "--no-proxy", "--", "sh", "-c", "kill -HUP $$ $PPID; exit 7")
        assert ran.code == 7
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_the_broker_refuses_is_said_before_anything_runs(
    valetkey: Runner, broker: FakeBroker, tmp_path: Path
) -> None:
    """Protects against a command without storage: the reason, its exit code, and nothing was started."""
    broker.stream = [end("GRANT_GONE", "no grant lets you read")]
    ran = valetkey("exec", *ASK, "--", "touch", str(tmp_path / "ran"))
    assert (ran.code, "no grant lets you read" in ran.err) == (3, True)
    assert not (tmp_path / "ran").exists()


def test_the_proxy_says_where_it_is_and_ends_with_sigterm(
    valetkey: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects start scripts: the port in a file, all of it in JSON, and a clean end."""
    shown = proxy_command._show

    def show_and_end(*arguments: object) -> None:
        shown(*arguments)  # type: ignore[arg-type]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(proxy_command, "_show", show_and_end)
    port_file = tmp_path / "port"
    ran = valetkey("proxy", *ASK, "--port-file", str(port_file), "-o", "json")
    assert ran.code == 0, ran
    assert ran.json["endpoint"] == f"http://127.0.0.1:{port_file.read_text().strip()}/contosoml"
    assert ran.json["container_url"] == f"{ran.json['endpoint']}/models?{ran.json['sas_token']}"
    assert "0 requests, 1 tokens" in ran.err
    assert [path.name for path in tmp_path.iterdir() if "port" in path.name] == ["port"]
    everything = valetkey("proxy", *ASK).out
    assert all(f"\n{name}\n" in everything for name in FORMS)
    assert SAS.partition("sig=")[2] not in everything
    # A port that is taken, and a CA file that is none, are said in a line.
    (tmp_path / "empty").touch()
    for wrong, says in (
        (("--port", broker_port(valetkey)), "--port: cannot listen on 127.0.0.1:"),
        (("--storage-ca-file", str(tmp_path / "none")), "--storage-ca-file: "),
        (("--storage-ca-file", str(tmp_path / "empty")), "it holds no certificate"),
    ):
        ran = valetkey("proxy", *ASK, *wrong)
        assert (ran.code, says in ran.err) == (2, True), ran


def broker_port(_valetkey: Runner) -> str:
    """Returns a port that is taken: the broker's."""
    return os.environ["VALETKEY_ENDPOINT"].rpartition(":")[2]


def test_each_tool_gets_what_it_takes() -> None:
    """Protects people who paste: each form is a whole line of its tool, quoted for a shell."""
    assert "export AZURE_STORAGE_SAS_TOKEN='sv=1&sp=rl&sig=S'" in REAL.env()
    assert REAL.azcopy() == [
        "azcopy list --location Blob 'https://contosoml.blob.core.windows.net/models?sv=1&sp=rl&sig=S'"
    ]
    assert REAL.curl() == [
        "curl --fail --silent --show-error --config - <<'END'",
        'url = "https://contosoml.blob.core.windows.net/models?sv=1&sp=rl&sig=S&restype=container&comp=list"',
        "END",
    ]
    assert REAL.rclone()[1] == (
        "export RCLONE_CONFIG_VALETKEY_SAS_URL='https://contosoml.blob.core.windows.net/models?sv=1&sp=rl&sig=S'"
    )
    assert "BlobEndpoint=http://127.0.0.1:7/contosoml;SharedAccessSignature=sig=S'" in PROXIED.duckdb()[0]
    assert "AZURE_STORAGE_CONNECTION_STRING" not in PROXIED.unset()


@pytest.mark.parametrize(
    ("resource", "permissions", "azcopy", "curl"),
    [
        (
            "az://m/a/b.bin",
            ("read",),
            "azcopy copy --from-to BlobLocal 'https://a.b.c/m/a/b.bin?sig=S' .",
            "--remote-name",
        ),
        (
            "az://m/a/b.bin",
            ("create",),
            "azcopy copy --from-to LocalBlob FILE 'https://a.b.c/m/a/b.bin?sig=S'",
            "--upload-file FILE",
        ),
        (
            "az://m",
            ("read",),
            "azcopy copy --from-to BlobLocal 'https://a.b.c/m/PATH/OF/BLOB?sig=S' .",
            "--remote-name",
        ),
        ("az://m/dir/", ("list",), "azcopy list --location Blob 'https://a.b.c/m/dir/?sig=S'", "--config"),
    ],
)
def test_a_line_fits_what_the_token_may(resource: str, permissions: tuple[str, ...], azcopy: str, curl: str) -> None:
    """Protects people from a line that their token does not allow."""
    access = ToolAccess.of(f"https://a.b.c/{resource.removeprefix('az://')}", "a", resource, "sig=S", permissions)
    assert access.azcopy() == [azcopy]
    assert curl in access.curl()[0]


def test_token_issue_prints_them(valetkey: Runner) -> None:
    """Protects `token issue -o azcopy|rclone|duckdb|curl`; for several resources they are refused."""
    issue = ("token", "issue", "--resource", "az://models", "--permissions", "read,list")
    for name in ("azcopy", "rclone", "duckdb", "curl"):
        ran = valetkey(*issue, "-o", name)
        assert (ran.code, SAS in ran.out) == (0, True)
        assert valetkey(*issue, "--resource", "az://other", "-o", name).code == 2
    assert "command line" in valetkey(*issue, "-o", "azcopy").err


def test_a_companys_proxy_is_kept_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects tools that would ask http_proxy for this machine."""
    from valetkey.cli.proxy_options import without_proxies

    assert without_proxies({}) == {}
    assert without_proxies({"http_proxy": "p", "no_proxy": "x"})["NO_PROXY"] == "x,127.0.0.1,localhost"


def test_the_forms_are_those_of_the_options() -> None:
    """Protects the option: each word has its form."""
    words = {str(word) for word in proxy_command.PasteFormat} - {"table", "json"}
    assert words == set(tool_access.FORMS)
