"""`valetkey.azure` against a storage that writes down what it is asked, and refuses on demand."""

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient
from azure.storage.blob.aio import ContainerClient as AsyncContainerClient
from azure.storage.filedatalake import FileSystemClient
from azure.storage.filedatalake.aio import FileSystemClient as AsyncFileSystemClient

import valetkey
from support.noting_storage import NotingStorage, running_noting_storage
from valetkey import azure
from valetkey.account_and_container import account_and_container
from valetkey.azure import aio
from valetkey.azure.missing_permissions import explain
from valetkey.azure.sas_query import same_account, with_sas, without_sas
from valetkey.azure.signed_requests import Body, sign
from valetkey.renewal import token_feed
from valetkey.testing import FakeBroker

SAS = "sv=2025-07-05&sr=c&sp=rl&sig=a%2Bb%3D"


@pytest.fixture
def storage() -> Iterator[NotingStorage]:
    with running_noting_storage() as running:
        yield running


@pytest.fixture
def fake(storage: NotingStorage) -> Iterator[FakeBroker]:
    with FakeBroker(url=storage.url) as running:
        yield running


@pytest.fixture
def source(fake: FakeBroker) -> Iterator[valetkey.TokenSource]:
    with fake.token_source("az://models", ["read", "write"]) as made:
        yield made


@pytest.fixture
def container(source: valetkey.TokenSource) -> Iterator[ContainerClient]:
    with azure.container_client(source) as client:
        client._config.retry_policy.initial_backoff = 0.01
        client._config.retry_policy.random_jitter_range = 0
        yield client


def test_a_retry_carries_the_token_of_its_time(
    container: ContainerClient, storage: NotingStorage, source: valetkey.TokenSource
) -> None:
    """Protects writes from two SAS in one URL: azure-core appends the renewed one to the old one between two tries."""
    storage.refusals = [(503, "ServerBusy")]
    storage.between = lambda: source.renew(source.current())
    container.upload_blob("a.bin", b"weights", overwrite=True)
    assert storage.signatures() == [["sig=fake1"], ["sig=fake2"]]


def test_a_refused_token_is_renewed_and_the_request_sent_once_more(
    container: ContainerClient, storage: NotingStorage
) -> None:
    """Protects jobs from a key that was withdrawn: the body goes out whole again, from wherever its stream began."""
    storage.refusals = [(403, "AuthenticationFailed")]
    stream = io.BytesIO(b"..weights")
    stream.seek(2)
    container.upload_blob("a.bin", stream, length=7, overwrite=True)
    assert storage.signatures() == [["sig=fake1"], ["sig=fake2"]]
    assert [body for _, _, _, body in storage.seen] == [b"weights", b"weights"]


def test_a_refusal_that_no_token_mends_is_told(
    container: ContainerClient, storage: NotingStorage, fake: FakeBroker
) -> None:
    """Protects broker and ledger: a permission that is missing costs no further token, and a second refusal is told."""
    storage.refusals = [(403, "AuthorizationPermissionMismatch")]
    with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch") as refused:
        container.delete_blob("a.bin")
    assert "It needs delete; the token for az://models has read, write" in str(refused.value)
    storage.refusals = [(403, "AuthenticationFailed")] * 2
    with pytest.raises(HttpResponseError, match="AuthenticationFailed"):
        container.delete_blob("a.bin")
    assert (len(storage.seen), len(fake.calls)) == (3, 2)


def test_a_firewall_costs_one_token_and_not_one_for_each_request(
    container: ContainerClient, storage: NotingStorage, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects broker and ledger: where a fresh token did not help, none is asked for for 30 s, and then one."""
    storage.refusals = [(403, "AuthorizationFailure")] * 17
    for _ in range(15):
        with pytest.raises(HttpResponseError, match="AuthorizationFailure"):
            container.delete_blob("a.bin")
    assert (len(storage.seen), len(fake.requests)) == (16, 2)
    monkeypatch.setattr(token_feed, "_NO_USE_SECONDS", 0.0)
    container.delete_blob("a.bin")
    assert (len(storage.seen), len(fake.requests), storage.signatures()[-1]) == (18, 3, ["sig=fake3"])


async def test_asynchronous_clients_spare_the_broker_too(storage: NotingStorage, fake: FakeBroker) -> None:
    """Protects broker and ledger from tasks; a refusal is let go of even where there is no fresh token."""
    known = {"endpoint": fake.endpoint, "ca_file": fake.ca_file, "api_key_file": fake.api_key_file}
    async with valetkey.AsyncTokenSource("az://models", ["write"], **known) as source:
        container: AsyncContainerClient = await aio.container_client(source)
        async with container:
            storage.refusals = [(403, "AuthorizationFailure")] * 6
            for _ in range(5):
                with pytest.raises(HttpResponseError, match="AuthorizationFailure"):
                    await container.delete_blob("a.bin")
    assert (len(storage.seen), len(fake.requests)) == (6, 2)


async def test_a_refusal_is_closed_where_no_token_follows() -> None:
    """Protects the pool of connections while the broker is away: each would hold one for ever."""
    closed: list[str] = []
    answer = {"status_code": 403, "headers": {"x-ms-error-code": "AuthenticationFailed"}}
    token = SimpleNamespace(url="https://a.b.c/models", sas=SAS)
    request = SimpleNamespace(url="https://a.b.c/models/a", headers={}, body=b"")

    def gone(_token: object) -> None:
        raise valetkey.BrokerUnreachableError("away")

    async def later(value: object) -> Any:
        return value() if callable(value) else value

    below: Any = SimpleNamespace(send=lambda _: SimpleNamespace(**answer, close=lambda: closed.append("sync")))
    source: Any = SimpleNamespace(current=lambda: token, may_renew=lambda _: True, renew=gone)
    with pytest.raises(valetkey.BrokerUnreachableError):
        azure.SigningTransport(source, below).send(request)
    async_answer = SimpleNamespace(**answer, close=lambda: later(lambda: closed.append("async")))
    below = SimpleNamespace(send=lambda _: later(async_answer))
    source = SimpleNamespace(current=lambda: later(token), may_renew=lambda _: True, renew=gone)
    with pytest.raises(valetkey.BrokerUnreachableError):
        await aio.AsyncSigningTransport(source, below).send(request)
    assert closed == ["sync", "async"]


def test_copies_have_their_source_signed(container: ContainerClient, storage: NotingStorage) -> None:
    """Protects copies: the client's own URL has no SAS, and Azure takes no private source without one."""
    container.get_blob_client("b.bin").start_copy_from_url(container.get_blob_client("a.bin").url)
    container.get_blob_client("c.bin").start_copy_from_url("https://other.example/x?sig=theirs")
    sources = [headers["x-ms-copy-source"] for _, _, headers, _ in storage.seen]
    assert sources[0].startswith(f"{storage.url}/models/a.bin?sv=")
    assert sources[0].endswith("&sig=fake1")
    assert sources[1] == "https://other.example/x?sig=theirs"


async def test_asynchronous_clients_do_the_same(storage: NotingStorage, fake: FakeBroker) -> None:
    """Protects aio users: one SAS at each try, a fresh one after a refusal."""
    known = {"endpoint": fake.endpoint, "ca_file": fake.ca_file, "api_key_file": fake.api_key_file}
    async with valetkey.AsyncTokenSource("az://models", ["write"], **known) as source:
        container: AsyncContainerClient = await aio.container_client(source)
        async with container:
            storage.refusals = [(403, "AuthenticationFailed")]
            await container.upload_blob("a.bin", b"weights", overwrite=True)
            assert "sig" not in repr(aio.AsyncSasCredential(source))
    assert storage.signatures() == [["sig=fake1"], ["sig=fake2"]]


def test_no_token_leaves_for_another_host() -> None:
    """Protects tokens from redirects, and from whoever names a source that looks alike."""
    token: Any = SimpleNamespace(url="https://contoso.blob.core.windows.net/models", sas=SAS)
    for url, signed in (
        ("https://contoso.blob.core.windows.net/models/a?comp=block&blockid=YQ%3D%3D&sv=1&sig=old", True),
        ("https://contoso-secondary.blob.core.windows.net/models/a", True),
        ("https://contoso.dfs.core.windows.net/models/a", True),
        ("https://evil.blob.core.windows.net/models/a?sig=x", False),
        ("http://contoso.blob.core.windows.net/models/a", False),
        ("https://contoso.blob.core.windows.net.evil.example/models/a", False),
    ):
        request = SimpleNamespace(url=url, headers={})
        sign(request, token)
        assert ("sig=a%2Bb%3D" in request.url, request.url.count("sig=")) == (signed, int(signed)), url
    assert with_sas("https://a/b?comp=block&sig=x&blockid=YQ%3D%3D", "sig=y") == (
        "https://a/b?comp=block&blockid=YQ%3D%3D&sig=y"
    )
    assert without_sas("https://a/b?sv=1&sig=x") == "https://a/b"
    assert not same_account("https://a.blob.core.windows.net:444/", "https://a.blob.core.windows.net/")


@pytest.mark.parametrize(
    ("header", "signed"),
    [
        ("/models/old", True),
        ("/models/old?sig=stale", True),
        ("/models-evil/old", False),
        ("/other/old", False),
    ],
)
def test_renames_have_their_source_signed(header: str, signed: bool) -> None:
    """Protects renames of azure-storage-file-datalake, whose source is a path, in the same container only."""
    token: Any = SimpleNamespace(url="https://contoso.blob.core.windows.net/models", sas=SAS)
    request = SimpleNamespace(
        url="https://contoso.dfs.core.windows.net/models/new?mode=legacy", headers={"x-ms-rename-source": header}
    )
    sign(request, token)
    sent = request.headers["x-ms-rename-source"]
    assert sent == (f"{header.partition('?')[0]}?{SAS}" if signed else header)


@pytest.fixture
def lake(storage: NotingStorage) -> Iterator[tuple[str, valetkey.TokenSource]]:
    """A storage whose paths begin with the container, as dfs hosts have them, and a source for it."""
    url = storage.url.rpartition("/")[0]
    with FakeBroker(url=url) as broker, broker.token_source("az://models", ["read", "write", "delete"]) as made:
        yield url, made


def test_file_systems_of_datalake_write_and_rename(
    lake: tuple[str, valetkey.TokenSource], storage: NotingStorage
) -> None:
    """Protects users of azure-storage-file-datalake: one SAS in each attempt, and one in what a rename reads from."""
    url, source = lake
    with FileSystemClient(url, "models", **azure.options(source)) as files:
        storage.refusals = [(403, "AuthenticationFailed")]
        file = files.get_file_client("runs/a.bin")
        file.upload_data(b"weights", overwrite=True)
        file.rename_file("models/runs/b.bin")
    assert [len(each) for each in storage.signatures()] == [1] * len(storage.seen)
    assert [method for method, *_ in storage.seen] == ["PUT", "PUT", "PATCH", "PATCH", "PUT"]
    assert storage.seen[-1][2]["x-ms-rename-source"].endswith(f"/models/runs/a.bin?{source.current().sas}")


async def test_asynchronous_file_systems_of_datalake_do_the_same(
    lake: tuple[str, valetkey.TokenSource], storage: NotingStorage
) -> None:
    """Protects users of azure-storage-file-datalake's tasks."""
    url, source = lake
    options = aio.options(valetkey.AsyncTokenSource.of(source))
    async with AsyncFileSystemClient(url, "models", **options) as files:
        storage.refusals = [(403, "AuthenticationFailed")]
        file = files.get_file_client("runs/a.bin")
        await file.upload_data(b"weights", overwrite=True)
        await file.rename_file("models/runs/b.bin")
    assert [len(each) for each in storage.signatures()] == [1] * len(storage.seen)
    assert storage.seen[-1][2]["x-ms-rename-source"].endswith(f"/models/runs/a.bin?{source.current().sas}")


def test_the_credential_alone_puts_one_token_into_a_url(source: valetkey.TokenSource, storage: NotingStorage) -> None:
    """Protects libraries that make their clients themselves: azure-core would add the renewed token to the old one."""
    with ContainerClient(storage.url, "models", credential=azure.SasCredential(source)) as client:
        client._config.retry_policy.initial_backoff = client._config.retry_policy.increment_base = 0
        client._config.retry_policy.random_jitter_range = 0
        storage.refusals = [(503, "ServerBusy")]
        storage.between = lambda: source.renew(source.current())
        client.upload_blob("a.bin", b"weights", overwrite=True)
    assert storage.signatures() == [["sig=fake1"], ["sig=fake2"]]


@pytest.mark.parametrize(
    ("method", "query", "copies", "needs"),
    [
        ("GET", "", False, "read"),
        ("HEAD", "", False, "read"),
        ("GET", "?restype=container&comp=list&prefix=a", False, "list"),
        ("PUT", "", False, "write, or, for a blob that is not there yet, create"),
        ("PUT", "?comp=block&blockid=x", False, "write"),
        ("PUT", "?comp=appendblock", False, "write or add"),
        (
            "PUT",
            "",
            True,
            "read for the source, and for the target write, or, for a blob that is not there yet, create",
        ),
        ("DELETE", "", False, "delete"),
        ("GET", "?restype=container", False, ""),
        ("PUT", "?resource=file", False, ""),
        ("PATCH", "?action=append", False, ""),
        ("PUT", "?comp=tags", False, ""),
    ],
)
def test_a_refusal_says_which_permission_is_missing(method: str, query: str, copies: bool, needs: str) -> None:
    """Protects people from guessing letters: in body and reason, whichever a library shows; nothing where unknown."""
    token: Any = SimpleNamespace(
        permissions=("list", "add"), resource=SimpleNamespace(resource_id="az://models"), url="", sas=SAS
    )
    headers = {"x-ms-copy-source": "x"} if copies else {}
    request = SimpleNamespace(method=method, url=f"https://a.b/models/a{query}", headers=headers)
    refusal = SimpleNamespace(
        status_code=403,
        headers={"x-ms-error-code": "AuthorizationPermissionMismatch"},
        reason="Not authorized.",
        text=lambda _encoding=None: "<Error><Message>No.</Message></Error>",
    )
    explain(refusal, request, token)
    why = f"It needs {needs}" if needs else ""
    assert (why in refusal.text(), why in refusal.reason) == (True, True)
    assert ("needs" in refusal.text("utf-8")) == bool(needs)
    other = SimpleNamespace(
        status_code=403, headers={"x-ms-error-code": "AuthenticationFailed"}, reason="No", text=None
    )
    explain(other, request, token)
    assert other.reason == "No"


def test_where_a_token_leads() -> None:
    """Protects clients of accounts on hosts of their own, and of emulators, whose account is in the path."""
    for url, account_url in (
        ("https://contoso.blob.core.windows.net/models/runs", "https://contoso.blob.core.windows.net"),
        ("https://127.0.0.1:10000/contoso/models", "https://127.0.0.1:10000/contoso"),
    ):
        token: Any = SimpleNamespace(
            url=url, resource=SimpleNamespace(resource_id="az://models/runs", account="contoso")
        )
        assert account_and_container(token) == (account_url, "models")


def test_a_body_that_cannot_go_back_is_sent_once() -> None:
    """Protects uploads from pipes: half a body is worse than a refusal that is told."""
    assert not Body(SimpleNamespace(body=iter([b"a"]))).again
    assert Body(SimpleNamespace(body=b"a")).again
