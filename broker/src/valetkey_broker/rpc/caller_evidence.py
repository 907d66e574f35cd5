"""What a call brings along to say who makes it, taken from what gRPC and TLS vouch for and nothing else."""

from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from valetkey_broker.ports import CallerEvidence
from valetkey_broker.rpc.current_call import Metadata

_LEAF, _CHAIN = "x509_pem_cert", "x509_pem_cert_chain"


def evidence_of(context: Any, metadata: Metadata) -> CallerEvidence:
    """Returns the evidence of a call. Headers that a proxy or a caller could write are not looked at."""
    authorization = [value for name, value in metadata if name == "authorization"]
    # An authorization header wins, so most callers do not need the certificate parsed out of the connection.
    certificate = None if authorization else client_certificate(context)
    return CallerEvidence(authorization, certificate, peer_address(context.peer()))


def client_certificate(context: Any) -> bytes | None:
    """Returns the client's chain (PEM, leaf first), None where none was asked for.

    Only the port for client certificates asks, and there TLS demands and verifies one: see rpc/tls_credentials.py.
    """
    vouched: dict[str, list[bytes]] = context.auth_context()
    leaf = vouched.get(_LEAF)
    if not leaf:
        return None
    return b"\n".join((leaf[0], *vouched.get(_CHAIN, ())))


@lru_cache(maxsize=4096)  # pure, and a connection carries many calls
def peer_address(peer: str) -> str:
    """Returns the address in gRPC's `ipv4:203.0.113.7:5000` or `ipv6:%5B::1%5D:5000`; other forms as they are."""
    kind, separator, rest = peer.partition(":")
    if not separator or kind not in ("ipv4", "ipv6"):
        return peer
    host = rest.rpartition(":")[0]
    # A zone (`fe80::1%eth0`) stays: two links may have the same address.
    return unquote(host).strip("[]") if kind == "ipv6" else host
