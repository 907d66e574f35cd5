"""The broker's own TLS, evidence and authenticator behind one method that answers with the caller's name."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from support.core import no_news
from support.failed_calls import Failure, failure
from support.spiffe import Svid
from valetkey_broker.adapters.oidc import key_source
from valetkey_broker.authn.authenticator import build_authenticator
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Principal
from valetkey_broker.ports import CallerEvidence, Clock
from valetkey_broker.rpc.caller_evidence import evidence_of
from valetkey_broker.rpc.error_status import to_status
from valetkey_broker.rpc.server_certificate import ServerCertificate
from valetkey_broker.rpc.tls_credentials import client_verifying_credentials, server_credentials
from valetkey_broker.settings import AuthnSettings, ServerSettings
from valetkey_broker.state.memory import Memory
from valetkey_devstack.ca import make_ca


@dataclass
class IdentityServer:
    """Two ports: `main` for all, `certificates` for client certificates. `seen` holds what calls brought along."""

    ca: bytes
    memory: Memory
    trust: TrustBundles
    main: int = 0
    certificates: int = 0
    seen: list[tuple[CallerEvidence, Principal | None]] = field(default_factory=list)

    def channel(self, port: int, svid: Svid | None = None) -> grpc.aio.Channel:
        """Returns a channel to a port, with a client certificate where one is given."""
        own = (svid.key, svid.chain) if svid is not None else ()
        # Not shared with other tests: gRPC hands connections on between channels that look alike.
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(self.ca, *own), options)

    async def name(self, port: int, *metadata: tuple[str, str | bytes], svid: Svid | None = None) -> str:
        """Returns who a caller is taken for."""
        async with self.channel(port, svid) as channel:
            return await ask(channel, *metadata)

    async def refusal(self, port: int, *metadata: tuple[str, str | bytes], svid: Svid | None = None) -> Failure:
        """Returns how a caller is refused."""
        async with self.channel(port, svid) as channel:
            return await failure(ask(channel, *metadata))


async def ask(channel: grpc.aio.Channel, *metadata: tuple[str, str | bytes]) -> str:
    """Returns who the caller on `channel` is taken for."""
    answer: bytes = await channel.unary_unary("/test/WhoAmI")(b"", metadata=metadata, timeout=10)
    return answer.decode()


@contextlib.asynccontextmanager
async def identity_server(
    directory: Path, authn: dict[str, Any], bundles: dict[str, Path] | None = None, clock: Clock = time.time
) -> AsyncIterator[IdentityServer]:
    """Serves while the context lasts."""
    certificate, key = make_ca(directory, "broker CA").issue("broker", directory)
    settings = ServerSettings(tls_cert_file=certificate, tls_key_file=key)
    trust = TrustBundles(bundles or {})
    running = IdentityServer((directory / "ca.pem").read_bytes(), Memory(), trust)
    authenticator = build_authenticator(
        AuthnSettings.model_validate(authn),
        running.memory,
        clock,
        key_source=key_source,
        trust=trust if bundles else None,
        catch_up=no_news,
    )

    async def who(_request: bytes, context: Any) -> bytes:
        evidence = evidence_of(context, context.invocation_metadata() or ())
        try:
            principal = await authenticator.authenticate(evidence)
        except BrokerError as error:
            running.seen.append((evidence, None))
            await context.abort(*to_status(error, "test", None))
            raise AssertionError("abort returned") from None
        running.seen.append((evidence, principal))
        return principal.name.encode()

    server = grpc.aio.server()
    handlers = {"WhoAmI": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    own = ServerCertificate(settings)
    running.main = server.add_secure_port("localhost:0", server_credentials(own))
    if bundles:
        running.certificates = server.add_secure_port("localhost:0", client_verifying_credentials(own, trust))
    await server.start()
    try:
        yield running
    finally:
        await server.stop(0)
        await authenticator.close()
