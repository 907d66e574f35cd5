"""`valetkey token issue` on a whole stack: every format, and what the storage service makes of the tokens."""

import asyncio
import json
import subprocess
import time
from datetime import datetime

import pytest

from support.cli_runner import Ran
from support.e2e import CONNECTOR, DEMO, VALETKEY, Live, refused, user_environment

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]

WRITE = "read,list,create,write,delete"


def sas_url(live: Live, sas: str, container: str = "demo-zenmlartifactstore", account: str = "demomlstorage") -> str:
    return f"{live.stack.azurite.blob_url(account)}/{container}?{sas}"


def test_as_written_in_the_issue(live: Live, registered: Ran) -> None:
    """The issue's command prints the facts in a table and the token below it; 15 minutes are 15 minutes."""
    before = time.time()
    ran = live.admin.done(
        *("token", "issue", "--resource", DEMO, "--permissions", "read,list", "--ttl", "15m"),
        *("--connector", CONNECTOR),
    )
    after = time.time()
    lines = ran.out.splitlines()
    facts = dict([cell.strip() for cell in line.strip("┃ ").split("│")] for line in lines if "│" in line)
    assert facts["resource name"] == DEMO
    assert facts["permissions"] == "read, list"
    assert facts["connector"] == CONNECTOR
    expires = datetime.fromisoformat(facts["expires"]).timestamp()
    assert before + 898 <= expires <= after + 901
    assert datetime.fromisoformat(facts["valid from"]).timestamp() <= after - 895
    assert "sp=rl&spr=https" in lines[-1]
    assert lines[-1].count("sig=") == 1


def test_from_env_reads_and_may_do_no_more(live: Live, registered: Ran) -> None:
    """`eval "$(… -o env)"` gives a token that reads and lists through azure-storage-blob, and writes nothing."""
    writer = live.container(live.issue("-o", "url", permissions=WRITE).out.strip())
    writer.upload_blob("models/v1.txt", b"weights", overwrite=True)
    script = f'eval "$({VALETKEY} token issue --resource {DEMO} --permissions read,list -o env)" && env'
    done = subprocess.run(
        ["bash", "-c", script],
        env=user_environment(live.admin.environment),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    exported = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert exported["AZURE_STORAGE_ACCOUNT"] == "demomlstorage"
    assert datetime.fromisoformat(exported["VALETKEY_TOKEN_EXPIRES"]).timestamp() > time.time()
    sas = exported["AZURE_STORAGE_SAS_TOKEN"]
    reader = live.container(sas_url(live, sas))
    assert reader.download_blob("models/v1.txt").readall() == b"weights"
    assert "models/v1.txt" in [blob.name for blob in reader.list_blobs()]
    assert refused(reader.upload_blob, "models/v2.txt", b"x") == "403 AuthorizationPermissionMismatch"
    assert refused(reader.delete_blob, "models/v1.txt") == "403 AuthorizationPermissionMismatch"
    elsewhere = live.container(sas_url(live, sas, "demo-models"))
    assert refused(lambda: list(elsewhere.list_blobs())).startswith("403")
    other_account = live.container(sas_url(live, sas, "demo-logs", "demologs"))
    assert refused(lambda: list(other_account.list_blobs())).startswith("403")


def test_url_sas_and_json(live: Live, registered: Ran) -> None:
    """`url` and `sas` are one bare line each; `json` holds all of it; each of the three tokens works."""
    url = live.issue("-o", "url").out
    sas = live.issue("-o", "sas").out
    said = live.issue("-o", "json").json
    assert url.endswith("\n")
    assert len(url.split()) == len(sas.split()) == 1
    assert said["sas_url"] == f"{said['url']}?{said['sas_token']}"
    assert said["url"] == url.partition("?")[0]
    assert (said["resource_id"], said["account"]) == (DEMO, "demomlstorage")
    assert (said["permissions"], said["connector"], said["credential_version"]) == (["read", "list"], CONNECTOR, 1)
    for each in (url.strip(), sas_url(live, sas.strip()), said["sas_url"]):
        list(live.container(each).list_blobs())


@pytest.mark.parametrize(
    "resource",
    [
        "demo-zenmlartifactstore",
        DEMO,
        "abfs://demo-zenmlartifactstore",
        "https://127.0.0.1:{port}/demomlstorage/demo-zenmlartifactstore",
    ],
)
def test_every_spelling_of_a_resource(live: Live, registered: Ran, resource: str) -> None:
    """A container, az://, abfs:// and the full URL mean the same container."""
    given = resource.format(port=live.stack.azurite.port)
    assert live.issue("-o", "json", resource=given).json["resource_id"] == DEMO


def test_name_in_two_accounts(live: Live) -> None:
    """A short id that two accounts answer to is an error that lists both URLs; either URL then works."""
    for account in ("demomlstorage", "demologs"):
        live.running.call(live.stack.azurite.create_containers(account, ["twin"]))
    name = live.new_connector()
    try:
        urls = [f"{live.stack.azurite.blob_url(account)}/twin" for account in ("demologs", "demomlstorage")]
        ran = live.issue("--connector", name, "-o", "json", resource="az://twin")
        assert (ran.code, ran.out) == (1, "")
        error = json.loads(ran.err)["error"]
        assert error["reason"] == "RESOURCE_AMBIGUOUS"
        assert error["metadata"]["candidates"] == " ".join(urls)
        assert all(url in error["message"] for url in urls)
        for url in urls:
            token = live.issue("--connector", name, "-o", "json", resource=url).json
            assert token["url"] == url
            list(live.container(token["sas_url"]).list_blobs())
        table = live.admin.done("service-connector", "list-resources", "--connector", name).out
        assert all(f"az://twin ({url})" in table for url in urls)
        single = live.register("never", "--resource-id", "az://twin")
        assert single.code == 1
        assert all(url in single.err for url in urls)
    finally:
        live.delete(name)


@pytest.mark.parametrize(
    "resource",
    [
        "ab",
        "a" * 64,
        "Upper",
        "az://a--b",
        "../demo",
        "az://demo?x=y",
        "demo%2F..",
        "de\nmo",
        "démo",
        "demо",  # noqa: RUF001 (Cyrillic o: that look-alike is the case)
        "",
        "https://evil.example/demo",
    ],
)
def test_bad_resources(live: Live, registered: Ran, resource: str) -> None:
    """What Azure would not call a container, or what points elsewhere, is refused by name; nothing is issued."""
    ran = live.issue(resource=resource)
    assert (ran.code, ran.out) == (1, "")
    assert "reason INVALID_FIELD" in ran.err
    assert "resource" in ran.err
    assert "expected" in ran.err


def test_url_of_another_host(live: Live, registered: Ran) -> None:
    """A URL that begins like an account's and ends elsewhere is nobody's resource; no token for it is signed."""
    host = "https://demomlstorage.blob.core.windows.net.evil.example"
    ran = live.issue(resource=f"{host}/demo-zenmlartifactstore")
    assert (ran.code, ran.out) == (4, "")
    assert f"in a cloud whose host is {host};" in ran.err


def test_path_in_a_container(live: Live, registered: Ran) -> None:
    """A prefix on a flat account is refused with the reason, never widened to its container."""
    for resource in (f"{DEMO}/models/", "demo-zenmlartifactstore/models"):
        ran = live.issue(resource=resource)
        assert (ran.code, ran.out) == (1, "")
    assert "reason SCOPE_UNSUPPORTED" in live.issue(resource=f"{DEMO}/models/").err


def test_container_that_is_not_there(live: Live, registered: Ran) -> None:
    """A sound name that nobody serves is refused, and the way to those that are served is shown."""
    ran = live.issue("--connector", CONNECTOR, resource="az://not-there")
    assert ran.code == 3
    assert "reason RESOURCE_DENIED" in ran.err
    assert "valetkey service-connector list-resources" in ran.err


@pytest.mark.parametrize(
    ("ttl", "code", "says"),
    [
        ("0s", 1, "ttl"),
        ("-5m", 1, "ttl"),
        ("13h", 1, "is 13h; expected 1s to 12h"),
        ("9223372036854775808s", 2, "longer than a duration can be"),
        ("soon", 2, "not a duration"),
        ("", 2, "not a duration"),
    ],
)
def test_bad_ttls(live: Live, registered: Ran, ttl: str, code: int, says: str) -> None:
    """A ttl of nothing, below it, over the limit, beyond all numbers or of no number gives no token, but a reason."""
    ran = live.issue(f"--ttl={ttl}")
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "expected" in ran.err


@pytest.mark.parametrize("permissions", ["", "obey", "read,racwdl"])
def test_bad_permissions(live: Live, registered: Ran, permissions: str) -> None:
    """Unknown or no permissions are refused with the list of those there are."""
    ran = live.issue(permissions=permissions)
    assert (ran.code, ran.out) == (2, "")
    assert "expected some of read, add, create, write, delete, list" in ran.err


def test_source_ip_is_signed(live: Live, registered: Ran) -> None:
    """The address is a signed field of the token: it cannot be exchanged, or left out. (Azurite itself admits all.)"""
    url = live.issue("--source-ip", "127.0.0.1", "-o", "url").out.strip()
    assert "&sip=127.0.0.1&" in url
    list(live.container(url).list_blobs())
    for forged in (url.replace("sip=127.0.0.1", "sip=192.0.2.1"), url.replace("&sip=127.0.0.1", "")):
        assert refused(lambda forged=forged: list(live.container(forged).list_blobs())).startswith("403")


async def test_token_ends_when_it_says(live: Live, registered: Ran) -> None:
    """After its ttl the storage service refuses the token, and not before."""
    from azure.core.exceptions import HttpResponseError

    while True:
        token = (await asyncio.to_thread(live.issue, "--ttl", "2s", "-o", "json")).json
        ends = datetime.fromisoformat(token["expire_time"]).timestamp()
        client = live.container(token["sas_url"])
        try:
            await asyncio.to_thread(lambda listed: list(listed.list_blobs()), client)
        except HttpResponseError:
            if time.time() < ends:
                raise
        else:
            break  # Else a busy machine came too late: with the next one, then.
    await asyncio.sleep(ends - time.time() + 0.5)
    assert (await asyncio.to_thread(refused, lambda: list(client.list_blobs()))).startswith("403")
