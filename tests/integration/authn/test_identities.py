"""Every identity over real TLS: a Kubernetes-shaped issuer, a SPIFFE-shaped CA, an API key."""

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from support.identity_server import ask, identity_server
from support.oidc import KUBERNETES_ATTRIBUTES, SUBJECT, IssuerServer, Signer
from support.spiffe import DOMAIN, WORKLOAD, SpiffeCa
from valetkey_broker.model import ApiKey

KEY = "vk_" + "K" * 43


async def test_all_identities_at_once(tmp_path: Path) -> None:
    """A pod, a workload and a key holder call one broker, and each is who it is."""
    ca = SpiffeCa()
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(ca.pem)
    async with IssuerServer(tmp_path / "issuer").running() as issuer:
        authn = {
            "oidc": [
                {
                    "issuer": issuer.url,
                    "audience": "valetkey",
                    "ca_file": issuer.ca_file,
                    "attributes": KUBERNETES_ATTRIBUTES,
                }
            ]
        }
        async with identity_server(tmp_path, authn, {DOMAIN: bundle}) as server:
            server.memory.put_api_key(
                ApiKey(
                    name="trainer",
                    uid="1",
                    digest=hashlib.sha256(KEY.encode()).digest(),
                    roles=frozenset(),
                    expires_at=datetime.fromtimestamp(time.time() + 60, UTC),
                    created_at=datetime.now(UTC),
                    created_by="key:admin",
                )
            )
            pod = f"oidc:{issuer.url}#{SUBJECT}"
            for _ in range(3):
                assert await server.name(server.main, ("authorization", f"Bearer {issuer.mint()}")) == pod
            assert len(issuer.requests) == 2
            assert await server.name(server.main, ("authorization", f"Bearer {KEY}")) == "key:trainer"
            assert await server.name(server.certificates, svid=ca.issue()) == WORKLOAD
            evidence, principal = server.seen[0]
            assert principal is not None
            assert dict(principal.attributes) == {"namespace": "ml", "service-account": "trainer"}
            assert evidence.peer in ("127.0.0.1", "::1")


async def test_issuer_rotates_its_keys(tmp_path: Path) -> None:
    """A pod whose token is signed with a brand-new key is let in; one with a key taken back is not."""
    async with IssuerServer(tmp_path / "issuer").running() as issuer:
        issuer_settings = {
            "issuer": issuer.url,
            "audience": "valetkey",
            "ca_file": issuer.ca_file,
            "min_refresh_seconds": 0.05,
            "refresh_seconds": 0.2,
        }
        async with identity_server(tmp_path, {"oidc": [issuer_settings]}) as server:
            old, new = issuer.mint(), Signer("two", which=2)
            await server.name(server.main, ("authorization", f"Bearer {old}"))
            issuer.signers = [new]
            await asyncio.sleep(0.1)
            await server.name(server.main, ("authorization", f"Bearer {issuer.mint(new)}"))
            refused = await server.refusal(server.main, ("authorization", f"Bearer {old}"))
            assert refused.short == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
            assert refused.metadata == {"evidence": "jwt", "problem": "key"}


async def test_issuer_away(tmp_path: Path) -> None:
    """A caller whose issuer cannot be asked is told to come back, and is let in once it can."""
    issuer = IssuerServer(tmp_path / "issuer")
    settings = {
        "issuer": issuer.url,
        "audience": "valetkey",
        "ca_file": issuer.ca_file,
        "min_refresh_seconds": 0.05,
        "timeout_seconds": 20,
    }
    async with identity_server(tmp_path, {"oidc": [settings]}) as server:
        header = ("authorization", f"Bearer {issuer.mint()}")
        refused = await server.refusal(server.main, header)
        assert refused.short == (grpc.StatusCode.UNAVAILABLE, "ISSUER_UNAVAILABLE")
        assert refused.retry_after is not None
        async with issuer.running():
            await asyncio.sleep(0.1)
            await server.name(server.main, header)
        await server.name(server.main, header)


async def test_keys_from_a_file(tmp_path: Path) -> None:
    """A broker that cannot reach the issuer believes the keys in a file."""
    issuer = IssuerServer(tmp_path / "issuer")
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [signer.jwk() for signer in issuer.signers]}))
    settings = {"issuer": issuer.url, "audience": "valetkey", "jwks_file": file}
    async with identity_server(tmp_path, {"oidc": [settings]}) as server:
        name = await server.name(server.main, ("authorization", f"Bearer {issuer.mint()}"))
    assert name == f"oidc:{issuer.url}#{SUBJECT}"


async def test_keys_in_a_file_are_rotated_without_a_restart(tmp_path: Path) -> None:
    """A key that is put into the file counts within seconds, and one that is taken out no more."""
    issuer = IssuerServer(tmp_path / "issuer")
    old, new = Signer("old"), Signer("new", which=1)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [old.jwk()]}))
    settings = {"issuer": issuer.url, "audience": "valetkey", "jwks_file": file}
    async with identity_server(tmp_path, {"oidc": [settings]}) as server:

        async def name(signer: Signer) -> str:
            header = ("authorization", f"Bearer {issuer.mint(signer)}")
            try:
                return await server.name(server.main, header)
            except grpc.aio.AioRpcError as error:
                return error.code().name

        assert [await name(old), await name(new)] == [f"oidc:{issuer.url}#{SUBJECT}", "UNAUTHENTICATED"]
        file.write_text(json.dumps({"keys": [new.jwk()]}))
        deadline = time.monotonic() + 60
        while [await name(old), await name(new)] != ["UNAUTHENTICATED", f"oidc:{issuer.url}#{SUBJECT}"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


async def test_certificate_ends_on_a_live_connection(tmp_path: Path) -> None:
    """A connection that stays open does not carry its certificate beyond its time."""
    ca, now = SpiffeCa(), time.time()
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(ca.pem)

    def clock() -> float:
        return now

    async with (
        identity_server(tmp_path, {}, {DOMAIN: bundle}, clock) as server,
        server.channel(server.certificates, ca.issue()) as channel,
    ):
        assert await ask(channel) == WORKLOAD
        now += 3660  # A leaf lasts for an hour from when it was made.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "certificate expired" in str(caught.value.details())


async def test_cas_change_without_a_restart(tmp_path: Path) -> None:
    """A new CA counts from the next handshake on, and one taken out counts no more, on open connections neither."""
    old, new = SpiffeCa("old"), SpiffeCa("new")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(old.pem)
    async with identity_server(tmp_path, {}, {DOMAIN: bundle}) as server:
        async with server.channel(server.certificates, old.issue()) as open_before:
            assert await ask(open_before) == WORKLOAD
            bundle.write_bytes(new.pem)
            server.trust._bundle._checked_at = 0.0
            assert await server.name(server.certificates, svid=new.issue()) == WORKLOAD
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(open_before)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        async with server.channel(server.certificates, old.issue()) as too_late:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(too_late)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
