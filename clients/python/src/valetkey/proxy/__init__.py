"""A proxy on loopback that signs what tools send to storage. Needs the extra `proxy`: aiohttp."""

from valetkey.proxy.signing_proxy import SigningProxy, trust

__all__ = ["SigningProxy", "trust"]
