"""What the proxy lets in: its own tools, for one container, and nothing that could lead elsewhere."""

import pytest

from support.fake_storage import SECRET, SIGNATURE, Rig

BLOB = "/acct/models/a/b.bin"


async def test_the_token_is_swapped_and_the_rest_stays(rig: Rig) -> None:
    """Protects blobs whose names are escaped in an odd way: not one byte of the path is written anew."""
    for path in ("/a//b", "/%61%2Fb%20c", "/x;y=1,+~!$'()*", "/%E2%82%AC", "/a%252e%252e/b", "/...", "/.a", "//"):
        status, _ = await rig.ask("GET", f"/acct/models{path}?snapshot=2026%2D01&x=&timeout=30&y=a%3Db")
        assert status == 201
        target = rig.storage.asked[-1].target
        real = f"sv=2025-07-05&sr=c&sp=rwl&sig={SIGNATURE.format(1)}"
        assert target == f"/acct/models{path}?snapshot=2026%2D01&x=&timeout=30&y=a%3Db&{real}"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sig=",
        f"sig={SECRET[:-1]}",
        f"sig={SECRET}0",
        f"sig={SECRET.upper()}",
        f"sig={SECRET}&sig=x",
        f"si%67=x&sig={SECRET}",
        f"x={SECRET}",
        "sig=%C3%A9%00",
    ],
)
async def test_without_the_proxys_own_token_nothing_is_sent(rig: Rig, query: str) -> None:
    """Protects the container from everybody else on this machine: a port on loopback is everyone's."""
    status, answer = await rig.ask("GET", f"{BLOB}?{query}", sas=False)
    assert (status, b"AuthenticationFailed" in answer, rig.storage.asked) == (403, True, [])
    assert SECRET.encode() not in answer


async def test_the_token_counts_however_it_is_written(rig: Rig) -> None:
    """Protects tools that send a SAS twice after a retry, or escape what need not be."""
    escaped = "".join(f"%{ord(character):02x}" for character in SECRET)
    for query in (f"SIG={SECRET}", f"sig={SECRET}&sig={SECRET}", f"sig={escaped}"):
        assert (await rig.ask("GET", f"{BLOB}?{query}", sas=False))[0] == 201
    assert all(asked.target.count("sig=") == 1 for asked in rig.storage.asked)


@pytest.mark.parametrize(
    "path",
    [
        "/acct/other/b",
        "/acct/models2/b",
        "/acct/model",
        "/acct/Models/b",
        "/other/models/b",
        "/models/b",
        "//acct/models/b",
        "/acct//models/b",
        "/acct/models%2Fb",
        "/acct%2Fmodels/b",
        "/acct",
        "/acct/",
        "/",
        "/acct?comp=list",
        "/acct?comp=batch",
        "/acct/?restype=service&comp=properties",
    ],
)
async def test_another_container_is_refused(rig: Rig, path: str) -> None:
    """Protects against a token's being shown anywhere but where it belongs; the account itself is elsewhere, too."""
    status, answer = await rig.ask("GET", path)
    assert (status, b"AuthorizationResourceMismatch" in answer, rig.storage.asked) == (403, True, [])


@pytest.mark.parametrize(
    "path",
    [
        "/acct/models/../other/b",
        "/acct/models/..",
        "/acct/models/%2e%2e/other/b",
        "/acct/models/%2E./other/b",
        "/acct/models/a%2F..%2F..%2Fother/b",
        "/acct/models/a%5c..%5c..%5Cother",
        "/acct/models/a\\..\\..\\other",
        "/acct/models/./b",
        "/acct/../acct/models/b",
        "/acct/models/%zz",
        "/acct/models/%",
    ],
)
async def test_no_path_leads_out(rig: Rig, path: str) -> None:
    """Protects against whatever storage, or a server before it, makes of dots, escaped or not."""
    status, answer = await rig.ask("GET", path)
    assert (status, b"InvalidUri" in answer, rig.storage.asked) == (400, True, [])


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/acct/models/b", "https://other.blob.core.windows.net/models/b", "acct/models/b", "*"],
)
async def test_a_target_that_names_a_host_is_refused(rig: Rig, target: str) -> None:
    """Protects against use as a proxy to everywhere: only paths are taken."""
    status, _ = await rig.ask("GET", target)
    assert (status, rig.storage.asked) == (400, [])


async def test_only_its_own_address_is_answered(rig: Rig) -> None:
    """Protects against web pages whose names are made to point to this machine."""
    for host in ("evil.example", f"evil.example:{rig.proxy.port}", "127.0.0.1", "127.0.0.1:1", "10.0.0.1"):
        assert (await rig.ask("GET", BLOB, host=host))[0] == 421
    assert rig.storage.asked == []
    assert (await rig.ask("GET", BLOB, host=f"LocalHost:{rig.proxy.port}"))[0] == 201
    assert rig.storage.asked[0].headers["Host"] == f"127.0.0.1:{rig.storage.port}"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "PROPFIND"])
async def test_methods_that_storage_has_not_are_refused(rig: Rig, method: str) -> None:
    """Protects against tunnels and echoes."""
    status, _ = await rig.ask(method, BLOB)
    assert (status in (400, 405), rig.storage.asked) == (True, [])


async def test_a_body_that_is_packed_on_its_way_is_refused(rig: Rig) -> None:
    """Protects a blob from being stored packed: how a body travels from the tool to here ends here."""
    for coding, status in (("gzip, chunked", b"501"), ("Chunked", b"201")):
        head = f"PUT /acct/models/x?{rig.sas} HTTP/1.1\r\nHost: 127.0.0.1:{rig.proxy.port}\r\nConnection: close\r\n"
        answer = await rig.raw(f"{head}Transfer-Encoding: {coding}\r\n\r\n1\r\nx\r\n0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 " + status), coding
    assert [asked.body for asked in rig.storage.asked] == [b"x"]


async def test_other_credentials_stay_behind(rig: Rig) -> None:
    """Protects what a tool shows besides: a bearer token would win over the SAS, and belongs to somebody."""
    await rig.ask(
        *("PUT", BLOB, "Authorization: Bearer planted", "Cookie: planted=1", "Proxy-Authorization: planted"),
        *("x-ms-copy-source-authorization: Bearer planted", "X-Forwarded-Host: planted", "x-ms-meta-a: kept"),
        *("Connection: close, X-Hop", "X-Hop: planted", "Content-Encoding: gzip", "Accept-Encoding: deflate"),
        body=b"no gzip at all",
    )
    (asked,) = rig.storage.asked
    assert "planted" not in str(asked)
    assert (asked.headers["x-ms-meta-a"], asked.headers["Content-Encoding"]) == ("kept", "gzip")
    assert (asked.headers["Accept-Encoding"], asked.body) == ("deflate", b"no gzip at all")
    assert not {"User-Agent", "Content-Type", "Accept"} & set(asked.headers)


async def test_headers_cannot_bring_others_along(rig: Rig) -> None:
    """Protects storage from a second request, or header, inside of a value."""
    for line in ("x-ms-meta-a: 1\rx-ms-copy-source: evil", "x-ms-meta-a: 1\n evil: 1", "x-ms-meta-a: \udcff\udcfe"):
        status, _ = await rig.ask("PUT", BLOB, line, body=b"x")
        assert status == 400
    both = ("Transfer-Encoding: chunked",)
    assert (await rig.ask("PUT", BLOB, *both, body=b"0\r\n\r\n"))[0] == 400
    assert rig.storage.asked == []


@pytest.mark.parametrize("name", ["x-ms-copy-source", "X-Ms-Copy-Source"])
async def test_the_source_of_a_copy_is_signed(rig: Rig, name: str) -> None:
    """Protects copies: SDKs send the source without a token, or with the proxy's, and at the proxy's address."""
    here, there = f"http://127.0.0.1:{rig.proxy.port}", f"http://127.0.0.1:{rig.storage.port}"
    signed = f"{there}/acct/models/a%20b?snapshot=1&sv=2025-07-05&sr=c&sp=rwl&sig={SIGNATURE.format(1)}"
    for source in (
        f"{here}/acct/models/a%20b?snapshot=1",
        f"{here}/acct/models/a%20b?snapshot=1&{rig.sas}",
        f"http://localhost:{rig.proxy.port}/acct/models/a%20b?{rig.sas}&snapshot=1",
        f"{there}/acct/models/a%20b?snapshot=1&sig=another",
    ):
        assert (await rig.ask("PUT", BLOB, f"{name}: {source}"))[0] == 201
        assert rig.storage.asked[-1].headers[name] == signed


@pytest.mark.parametrize(
    "source",
    [
        "http://evil.example/acct/models/a",
        "https://other.blob.core.windows.net/models/a",
        "http://127.0.0.1:{port}@evil.example/acct/models/a",
        "http://127.0.0.1:{port}/acct/other/a",
        "http://127.0.0.1:{port}/acct/models/../other/a",
        "http://127.0.0.1:{port}/acct/models/%2e%2e/other/a",
        "http://127.0.0.1:{storage}/acct/other/a",
        "http://127.0.0.1:{storage}1/acct/models/a",
        "https://127.0.0.1:{port}/acct/models/a",
        "/acct/models/a",
        "http://127.0.0.1:{port}",
        "http://127.0.0.1:{port}/acct/models/a b",
        "file:///etc/passwd",
        "",
    ],
)
async def test_a_copy_from_elsewhere_is_refused(rig: Rig, source: str) -> None:
    """Protects against a token in a URL of somebody else's, and against data that comes in by it."""
    value = source.format(port=rig.proxy.port, storage=rig.storage.port)
    status, _ = await rig.ask("PUT", BLOB, f"x-ms-copy-source: {value}")
    assert (status in (400, 403), rig.storage.asked) == (True, [])


async def test_the_source_of_a_renaming_is_signed(rig: Rig) -> None:
    """Protects renaming, whose source is a path; another container's is refused."""
    assert (await rig.ask("PUT", BLOB, "x-ms-rename-source: /models/old%20one?sig=x"))[0] == 201
    assert rig.storage.asked[0].headers["x-ms-rename-source"].startswith("/models/old%20one?sv=2025-07-05&")
    for source in ("/other/a", "/models/../other/a", "models/a", "https://evil.example/models/a"):
        assert (await rig.ask("PUT", BLOB, f"x-ms-rename-source: {source}"))[0] in (400, 403)
    assert len(rig.storage.asked) == 1
