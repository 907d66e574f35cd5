"""A whole broker with every identity: grants match them, roles are bound to them, streams end with them."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from support.failed_calls import failure
from support.fake_ledger import FakeLedger
from support.inproc import OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from support.oidc import KUBERNETES_ATTRIBUTES, SUBJECT, IssuerServer
from support.spiffe import DOMAIN, WORKLOAD, SpiffeCa, Svid
from valetkey.v1 import (
    login_service_pb2,
    login_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)
from valetkey_devstack.free_ports import free_port

REQUEST = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=[1])


class World:
    """A running broker with an issuer, a CA and a ledger to look into."""

    def __init__(self, broker: Broker, issuer: IssuerServer, ca: SpiffeCa, ledger: FakeLedger, port: int) -> None:
        self.broker, self.issuer, self.ca, self.ledger, self.port = broker, issuer, ca, ledger, port

    def certified(self, svid: Svid) -> grpc.aio.Channel:
        """Returns a channel to the port for client certificates."""
        own = grpc.ssl_channel_credentials(self.broker.ca, svid.key, svid.chain)
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", own, [("grpc.use_local_subchannel_pool", 1)])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ca, port, ledger = SpiffeCa(), free_port(), FakeLedger()
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
                    "login": {"client_id": "command-line", "scopes": ["valetkey/.default", "openid"]},
                }
            ],
            "mtls": {"port": port, "trust_domains": {DOMAIN: bundle}},
            "roles": [{"role": "operator", "principals": [f"oidc:{issuer.url}#ops-*"]}],
        }
        async with running_broker(tmp_path, ledger=ledger, authn=authn) as broker:
            await broker.ready()
            yield World(broker, issuer, ca, ledger, port)


async def test_where_people_log_in(world: World) -> None:
    """Told to a caller who shows nothing, as the settings have it."""
    stub = login_service_pb2_grpc.LoginServiceStub(world.broker.channel)
    (found,) = (await stub.GetLoginSettings(login_service_pb2.GetLoginSettingsRequest())).issuers
    assert (found.issuer, found.client_id, found.audience) == (world.issuer.url, "command-line", "valetkey")
    assert (list(found.scopes), found.send_audience) == (["valetkey/.default", "openid"], False)


async def test_pod_gets_what_its_namespace_is_granted(world: World) -> None:
    """A person with a bound role registers; a pod gets a token by a grant on its namespace; another pod does not."""
    broker, issuer = world.broker, world.issuer
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(issuer.mint(sub="ops-alice")))
    await broker.allow(f"oidc:{issuer.url}#system:serviceaccount:*:*", attributes={"namespace": "ml"})
    answer = await broker.tokens.IssueToken(REQUEST, metadata=bearer(issuer.mint()))
    assert answer.sas_token
    event = world.ledger.recorded[-1]
    assert (event.principal, event.authentication) == (f"oidc:{issuer.url}#{SUBJECT}", "oidc")
    other = issuer.mint(sub="system:serviceaccount:web:shop", **{"kubernetes.io": {"namespace": "web"}})
    refused = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(other)))
    assert refused.reason == "RESOURCE_DENIED"
    refused = await failure(broker.connectors.CreateConnector(new_connector("x"), metadata=bearer(issuer.mint())))
    assert refused.reason == "ROLE_REQUIRED"


async def test_workload_gets_what_it_is_granted(world: World) -> None:
    """A SPIFFE workload is known by its certificate on the port for these, and on no other."""
    broker = world.broker
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(world.issuer.mint(sub="ops-alice")))
    await broker.allow(f"spiffe://{DOMAIN}/ns/ml/sa/*")
    async with world.certified(world.ca.issue()) as channel:
        stub = token_service_pb2_grpc.TokenServiceStub(channel)
        assert (await stub.IssueToken(REQUEST, metadata=(("x-spiffe-id", f"spiffe://{DOMAIN}/admin"),))).sas_token
    event = world.ledger.recorded[-1]
    assert (event.principal, event.authentication, event.peer) == (WORKLOAD, "mtls", "127.0.0.1")
    assert (await failure(broker.tokens.IssueToken(REQUEST))).reason == "CREDENTIALS_MISSING"


async def test_stream_ends_with_its_certificate(world: World) -> None:
    """A certificate that ends while a stream is open takes the stream along, within 5 s and with the reason."""
    broker = world.broker
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(world.issuer.mint(sub="ops-alice")))
    await broker.allow(WORKLOAD)
    svid = world.ca.issue(ends=dt.timedelta(seconds=3))
    async with world.certified(svid) as channel, asyncio.timeout(60):
        stub = token_service_pb2_grpc.TokenServiceStub(channel)
        stream = stub.WatchToken(token_service_pb2.WatchTokenRequest(request=REQUEST))
        answers = [answer async for answer in stream]
    assert answers[0].token.sas_token
    assert answers[-1].end.reason == token_service_pb2.WATCH_END_REASON_IDENTITY_EXPIRED
    late = dt.datetime.now(dt.UTC) - svid.leaf.not_valid_after_utc
    assert dt.timedelta(0) <= late < dt.timedelta(seconds=5)
    assert [event.kind.value for event in world.ledger.recorded].count("token-issued") == len(answers) - 1


@pytest.mark.parametrize("back", [True, False], ids=["and back", "for good"])
async def test_stream_of_an_issuer_that_is_away(tmp_path: Path, back: bool) -> None:
    """A stream outlives an issuer's absence where it ends in time; if not, it ends as such, and never as revoked."""
    issuer = IssuerServer(tmp_path / "issuer")
    oidc = {
        "issuer": issuer.url,
        "audience": "valetkey",
        "ca_file": issuer.ca_file,
        "refresh_seconds": 1,
        "min_refresh_seconds": 1,
        "max_stale_seconds": 2,
    }
    async with running_broker(tmp_path, ledger=FakeLedger(), authn={"oidc": [oidc]}) as broker, asyncio.timeout(90):
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow(f"oidc:{issuer.url}#{SUBJECT}")
        wanted = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=[1])
        wanted.ttl.seconds = 7
        watch = token_service_pb2.WatchTokenRequest(request=wanted)
        jwt = bearer(issuer.mint())
        async with issuer.running():
            stream = broker.tokens.WatchToken(watch, metadata=jwt)
            first: token_service_pb2.WatchTokenResponse = await stream.read()
        assert first.token.sas_token
        await asyncio.sleep(first.token.expire_time.seconds - time.time() - 4)  # Before the next one is due.
        assert (await failure(broker.tokens.IssueToken(wanted, metadata=jwt))).reason == "ISSUER_UNAVAILABLE"
        if back:
            async with issuer.running():
                assert (await stream.read()).token.sas_token
            stream.cancel()
        else:
            last: token_service_pb2.WatchTokenResponse = await stream.read()
            assert last.end.reason == token_service_pb2.WATCH_END_REASON_ISSUER_UNAVAILABLE
            assert time.time() >= first.token.expire_time.seconds


async def test_failed_evidence_is_on_record(world: World) -> None:
    """Who was refused, and why, reaches the ledger; the token that was presented does not."""
    forged = world.issuer.mint(aud="other")
    await failure(world.broker.tokens.IssueToken(REQUEST, metadata=bearer(forged)))
    event = world.ledger.recorded[-1]
    assert (event.kind.value, event.principal, event.peer) == ("authentication-failed", "", "127.0.0.1")
    assert event.details == {"error": "audience", "evidence": "jwt"}
    assert forged not in repr(world.ledger.recorded)
    assert not world.broker.cloud.calls
