"""The network of an address: addresses of one network count as one caller."""

import ipaddress
from functools import lru_cache

# One customer's share of IPv6. Source: RFC 6177, section 2.
_IPV6_NETWORK = 64


@lru_cache(maxsize=4096)  # a flood often comes from few addresses
def network_of(peer: str) -> str:
    """Returns the address, of IPv6 its network: whoever has one address there has all of them to choose from."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4 or address.ipv4_mapped is not None:  # noqa: PLR2004 (IPv4)
        return peer
    return str(ipaddress.ip_network((int(address) >> _IPV6_NETWORK << _IPV6_NETWORK, _IPV6_NETWORK)))
