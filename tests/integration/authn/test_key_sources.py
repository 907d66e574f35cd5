"""The keys of an issuer over real HTTPS: discovery, and an issuer that misbehaves in every way."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.connect_proxy import ConnectProxy
from support.oidc import AUDIENCE, IssuerServer
from valetkey_broker.adapters.oidc import FileKeySource, HttpKeySource
from valetkey_broker.ports import KeySourceError


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[IssuerServer]:
    async with IssuerServer(tmp_path / "issuer").running() as running:
        yield running


def source(issuer: IssuerServer, **options: Any) -> HttpKeySource:
    """Returns a source that trusts the issuer's CA."""
    return HttpKeySource(
        issuer.url, **{"ca_file": issuer.ca_file, "timeout_seconds": 30.0, "check_seconds": 0.0, **options}
    )


async def test_discovery(issuer: IssuerServer) -> None:
    """The issuer says where its keys are; nobody's credentials are sent along."""
    assert [key["kid"] for key in (await source(issuer).fetch())["keys"]] == ["one"]
    assert issuer.requests == [("/.well-known/openid-configuration", None), ("/openid/v1/jwks", None)]


@pytest.mark.parametrize("path", ["/tenant/v2.0", "/tenant/"])
async def test_discovery_below_a_path(tmp_path: Path, path: str) -> None:
    """An issuer may have a path, and a slash at its end, which its name keeps and its address does not double."""
    async with IssuerServer(tmp_path, path).running() as issuer:
        await source(issuer).fetch()
        assert issuer.requests[0][0] == f"{path.rstrip('/')}/.well-known/openid-configuration"


async def test_given_address_needs_no_discovery(issuer: IssuerServer) -> None:
    """Where the operator gives the address, it is asked and nothing else."""
    await source(issuer, jwks_uri=issuer.jwks_uri).fetch()
    assert [path for path, _ in issuer.requests] == ["/openid/v1/jwks"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("status", "status 503"),
        ("slow", "no answer within"),
        ("redirect", "redirects are not followed"),
        ("huge", "over 262144 bytes"),
        ("not json", "not JSON"),
        ("deep", "not JSON"),
        ("a list", "not a JSON object"),
        ("compressed", "compressed"),
        ("other issuer", "another issuer's"),
    ],
)
async def test_misbehaving_issuer(issuer: IssuerServer, fault: str, said: str) -> None:
    """Slow, huge, moved, strange and foreign answers are errors within the timeout, and are not followed."""
    issuer.fault = fault
    with pytest.raises(KeySourceError, match=said):
        await source(issuer, timeout_seconds=0.5 if fault == "slow" else 30.0).fetch()
    assert not [path for path, _ in issuer.requests if "elsewhere" in path]


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1/keys", "file:///etc/passwd", "https://user@127.0.0.1/keys", "", None, 7]
)
async def test_address_of_keys_that_is_not_https(issuer: IssuerServer, uri: Any) -> None:
    """Keys come over HTTPS or not at all, whatever the discovery document says."""
    issuer.jwks_uri = uri
    with pytest.raises(KeySourceError, match="no https jwks_uri"):
        await source(issuer).fetch()
    assert len(issuer.requests) == 1


async def test_strangers_certificate(issuer: IssuerServer) -> None:
    """An issuer whose TLS certificate no trusted CA signed is not asked."""
    with pytest.raises(KeySourceError, match="cannot be reached"):
        await source(issuer, ca_file=None).fetch()
    assert not issuer.requests


async def test_issuer_that_is_down(tmp_path: Path) -> None:
    """A port that nobody listens on is an error, not a crash."""
    with pytest.raises(KeySourceError, match="cannot be reached"):
        await source(IssuerServer(tmp_path)).fetch()


async def test_missing_files(issuer: IssuerServer, tmp_path: Path) -> None:
    """A CA or a token that is not there at the first request is an error that names it; nothing is sent."""
    for option in ("ca_file", "bearer_token_file"):
        with pytest.raises(KeySourceError, match=rf"{option}: {tmp_path}/missing: cannot be read: No such file"):
            await source(issuer, **{option: tmp_path / "missing"}).fetch()
    assert not issuer.requests


@pytest.mark.parametrize("content", ["", " \n", "two words", "a\nb", "Übung"])
async def test_token_file_that_holds_no_token(issuer: IssuerServer, tmp_path: Path, content: str) -> None:
    """What is not one word of ASCII is not sent as a header, and is not quoted."""
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(KeySourceError, match=r"holds no token; expected one line, a JWT$"):
        await source(issuer, bearer_token_file=file).fetch()
    assert not issuer.requests


async def test_token_caught_half_way_leaves_the_old_one(issuer: IssuerServer, tmp_path: Path) -> None:
    """While the token's file is emptied or gone, the last good token is sent; the log says so once."""
    file = tmp_path / "token"
    file.write_text("first\n")
    keys = source(issuer, bearer_token_file=file)
    await keys.fetch()
    with capture_logs() as lines:
        for ruin in (lambda: file.write_text(""), file.unlink):
            ruin()
            await keys.fetch()
            await keys.fetch()
    assert {sent for _, sent in issuer.requests} == {"Bearer first"}
    assert [line["log_level"] for line in lines] == ["error", "error"]


async def test_new_ca_of_a_running_issuer(tmp_path: Path) -> None:
    """An issuer that comes back with another CA is believed once the CA file has it, and not before."""
    own = tmp_path / "own.pem"
    async with IssuerServer(tmp_path / "old").running() as issuer:
        own.write_bytes(issuer.ca_file.read_bytes())
        keys = source(issuer, ca_file=own)
        await keys.fetch()
    renewed = IssuerServer(tmp_path / "new", port=issuer.port)
    async with renewed.running():
        with pytest.raises(KeySourceError, match="ClientConnectorCertificateError"):
            await keys.fetch()
        own.write_bytes(renewed.ca_file.read_bytes()[:-70])
        with pytest.raises(KeySourceError, match="ClientConnectorCertificateError"):
            await keys.fetch()
        own.write_bytes(renewed.ca_file.read_bytes())
        assert await keys.fetch()


async def test_bearer_token_goes_to_the_issuer(issuer: IssuerServer, tmp_path: Path) -> None:
    """A Kubernetes API server gets the broker's token, read anew each time."""
    file = tmp_path / "token"
    keys = source(issuer, bearer_token_file=file)
    for value in ("first", "second"):
        file.write_text(f"{value}\n")
        await keys.fetch()
        assert {sent for _, sent in issuer.requests} == {f"Bearer {value}"}
        issuer.requests.clear()


@pytest.mark.parametrize("discovery", [True, False])
async def test_keys_as_an_api_server_gives_them(issuer: IssuerServer, tmp_path: Path, discovery: bool) -> None:
    """A Kubernetes API server wants the broker's own token of its default audience: 403 without, 401 to another one's.

    The error then says which token is expected; the projected token of a caller, for the broker, is not it.
    """
    issuer.own_audience = issuer.url
    options = {} if discovery else {"jwks_uri": issuer.jwks_uri}
    file = tmp_path / "token"
    file.write_text(issuer.mint(aud=[AUDIENCE]))
    for shown, status in (({}, 403), ({"bearer_token_file": file}, 401)):
        with pytest.raises(KeySourceError, match=rf"status {status}.*; .*bearer_token_file.*without an audience"):
            await source(issuer, **shown, **options).fetch()
    keys = source(issuer, bearer_token_file=file, **options)
    file.write_text(issuer.mint(aud=[issuer.url, "k3s"]))
    assert await keys.fetch()


async def test_bearer_token_does_not_go_where_a_document_points(issuer: IssuerServer, tmp_path: Path) -> None:
    """The broker's own token is not sent to a host that only the discovery document names."""
    file = tmp_path / "token"
    file.write_text("secret")
    async with IssuerServer(tmp_path / "other").running() as other:
        issuer.jwks_uri = other.jwks_uri
        ca = tmp_path / "both.pem"
        ca.write_bytes(issuer.ca_file.read_bytes() + other.ca_file.read_bytes())
        await source(issuer, ca_file=ca, bearer_token_file=file).fetch()
    assert issuer.requests == [("/.well-known/openid-configuration", "Bearer secret")]
    assert other.requests == [("/openid/v1/jwks", None)]


async def test_issuer_behind_a_proxy(issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discovery and keys come through the proxy of the settings; the environment's is not used."""
    async with ConnectProxy().running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        await source(issuer).fetch()
        assert proxy.asked == []
        await source(issuer, proxy=proxy.url).fetch()
        assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{issuer.port}"}
        proxy.refuse = True
        with pytest.raises(KeySourceError, match=f"its proxy {proxy.url} cannot be used"):
            await source(issuer, proxy=proxy.url).fetch()
    with pytest.raises(KeySourceError, match=r"its proxy http://127\.0\.0\.1:9 cannot be used"):
        await source(issuer, proxy="http://127.0.0.1:9").fetch()


async def test_keys_from_a_file(tmp_path: Path) -> None:
    """A changed file is read anew; one that was never good is an error that names it."""
    file = tmp_path / "jwks.json"
    keys = FileKeySource(file, check_seconds=0.0)
    with pytest.raises(KeySourceError, match=r"jwks\.json: cannot be read: No such file"):
        await keys.fetch()
    file.write_text("{")
    with pytest.raises(KeySourceError, match=r"jwks\.json is not JSON"):
        await keys.fetch()
    file.write_text('{"keys": []}')
    assert await keys.fetch() == {"keys": []}
    await keys.close()


@pytest.mark.parametrize("ruin", ["", '{"keys": [', "{}", '{"keys": {}}', None])
async def test_keys_of_a_file_that_went_bad(tmp_path: Path, ruin: str | None) -> None:
    """A file that is missing, half-written or no JWKS leaves the last good keys in use, and an error in the log."""
    file = tmp_path / "jwks.json"
    file.write_text('{"keys": []}')
    keys = FileKeySource(file, check_seconds=0.0)
    await keys.fetch()
    with capture_logs() as lines:
        if ruin is None:
            file.unlink()
        else:
            file.write_text(ruin)
        assert [await keys.fetch() for _ in range(3)] == [{"keys": []}] * 3
    assert [line["log_level"] for line in lines] == ["error"]
