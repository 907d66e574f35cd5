"""Attacks on identities over real TLS: headers that pretend, certificates of strangers, two stories at once."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from support.identity_server import IdentityServer, ask, identity_server
from support.oidc import IssuerServer
from support.spiffe import DOMAIN, SERVER, WORKLOAD, SpiffeCa, Svid
from valetkey_broker.rpc.caller_evidence import peer_address

ADMIN = f"spiffe://{DOMAIN}/admin"
INVALID = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
MISSING = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")


class World:
    """A broker that believes one issuer and two trust domains, each with its own CA."""

    def __init__(self, server: IdentityServer, issuer: IssuerServer, ca: SpiffeCa, other: SpiffeCa) -> None:
        self.server, self.issuer, self.ca, self.other = server, issuer, ca, other


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ca, other = SpiffeCa(), SpiffeCa("other.example")
    bundles = {DOMAIN: tmp_path / "one.pem", "other.example": tmp_path / "two.pem"}
    bundles[DOMAIN].write_bytes(ca.pem)
    bundles["other.example"].write_bytes(other.pem)
    async with IssuerServer(tmp_path / "issuer").running() as issuer:
        authn = {"oidc": [{"issuer": issuer.url, "audience": "valetkey", "ca_file": issuer.ca_file}]}
        async with identity_server(tmp_path, authn, bundles) as server:
            yield World(server, issuer, ca, other)


SPOOFED = [
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-client-cert", f"URI={ADMIN}"),
    ("x-forwarded-user", "admin"),
    ("forwarded", "for=10.0.0.1"),
    ("x-real-ip", "10.0.0.1"),
    ("x-spiffe-id", ADMIN),
    ("x-principal", "key:admin"),
    ("x-amzn-oidc-identity", "admin"),
    ("proxy-authorization", "Bearer vk_x"),
    ("authorization-bin", b"Bearer vk_x"),
    ("x509_pem_cert", "x"),
    ("peer_spiffe_id", ADMIN),
]


@pytest.mark.parametrize("header", SPOOFED, ids=[name for name, _ in SPOOFED])
async def test_spoofed_headers_make_nobody_anybody(world: World, header: tuple[str, str | bytes]) -> None:
    """A header that a proxy or a caller could write neither lets a stranger in nor changes who a caller is."""
    server = world.server
    assert (await server.refusal(server.main, header)).short == MISSING
    assert await server.name(server.certificates, header, svid=world.ca.issue()) == WORKLOAD
    token = ("authorization", f"Bearer {world.issuer.mint()}")
    assert (await server.name(server.main, header, token)).startswith(f"oidc:{world.issuer.url}#")
    assert {evidence.peer for evidence, _ in server.seen} <= {"127.0.0.1", "::1"}


async def test_duplicate_authorization(world: World) -> None:
    """Two authorization headers are refused in any mixture: two readers must not pick different ones."""
    server, good = world.server, f"Bearer {world.issuer.mint()}"
    for second in (good, "Bearer vk_" + "A" * 43, f"Bearer {world.issuer.mint(sub='admin')}", ""):
        for pair in ((good, second), (second, good)):
            headers = [("authorization", value) for value in pair]
            assert (await server.refusal(server.main, *headers)).short == INVALID
            assert (await server.refusal(server.certificates, *headers, svid=world.ca.issue())).short == INVALID


async def test_certificate_on_the_main_port_counts_for_nothing(world: World) -> None:
    """The main port never asks for a certificate, so none can be taken for verified there."""
    refused = await world.server.refusal(world.server.main, svid=world.ca.issue([ADMIN]))
    assert refused.short == MISSING
    assert world.server.seen[-1][0].certificate is None


async def shut_out(server: IdentityServer, svid: Svid | None) -> None:
    """Fails unless the TLS handshake does."""
    async with server.channel(server.certificates, svid) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not server.seen


async def test_strangers_do_not_get_past_tls(world: World) -> None:
    """No certificate, one of another CA, even of the same name, a server's, an expired one: no call is made."""
    past = {"begins": dt.timedelta(hours=-2), "ends": dt.timedelta(hours=-1)}
    await shut_out(world.server, None)
    await shut_out(world.server, SpiffeCa().issue([ADMIN]))
    await shut_out(world.server, world.ca.issue(purposes=[SERVER]))
    await shut_out(world.server, world.ca.issue(**past))


async def test_stolen_certificate_without_its_key(world: World) -> None:
    """A certificate is public: without its key it opens nothing."""
    stolen, own = world.ca.issue([ADMIN]), world.ca.issue()
    async with world.server.channel(world.server.certificates, Svid(stolen.chain, own.key, stolen.leaf)) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(channel)
    assert not world.server.seen


@pytest.mark.parametrize(
    ("uris", "found"),
    [
        ([WORKLOAD, ADMIN], "san"),
        ([WORKLOAD, WORKLOAD], "san"),
        ([WORKLOAD, "https://example.org/"], "san"),
        (["https://example.org/"], "san"),
        ([f"spiffe://{DOMAIN}"], "san"),
        ([f"spiffe://{DOMAIN}/a/../admin"], "san"),
        ([f"spiffe://{DOMAIN}/%61dmin"], "san"),
        ([f"spiffe://{DOMAIN}:443/admin"], "san"),
        ([f"spiffe://{DOMAIN}/admin?x"], "san"),
        ([f"spiffe://{DOMAIN}/admin#x"], "san"),
        (["spiffe://unknown.example/x"], "trust-domain"),
    ],
)
async def test_odd_names_in_a_certificate(world: World, uris: list[str], found: str) -> None:
    """A certificate that TLS lets through, with no, two or strange ids, makes nobody."""
    refused = await world.server.refusal(world.server.certificates, svid=world.ca.issue(uris))
    assert refused.short == INVALID
    assert refused.metadata == {"evidence": "certificate", "problem": found}


async def test_ca_of_one_trust_domain_has_no_say_in_another(world: World) -> None:
    """A CA that TLS trusts, for its own domain, cannot make an admin of ours."""
    refused = await world.server.refusal(world.server.certificates, svid=world.other.issue([ADMIN]))
    assert refused.metadata == {"evidence": "certificate", "problem": "chain"}
    own = world.other.issue(["spiffe://other.example/x"])
    assert await world.server.name(world.server.certificates, svid=own) == "spiffe://other.example/x"


async def test_chain_with_an_intermediate(world: World) -> None:
    """An intermediate's certificate, sent along, is followed."""
    svid = world.ca.intermediate().issue()
    assert await world.server.name(world.server.certificates, svid=svid) == WORKLOAD


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:203.0.113.7:5000", "203.0.113.7"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[2001:db8::1]:5000", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1%eth0"),
        ("unix:/tmp/x", "unix:/tmp/x"),
        ("", ""),
    ],
)
def test_peer_without_its_port(peer: str, address: str) -> None:
    """Limits and the ledger know a peer by its address: a new port makes nobody new."""
    assert peer_address(peer) == address
