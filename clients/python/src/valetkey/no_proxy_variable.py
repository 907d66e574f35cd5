"""Which hosts the environment keeps from its proxy, where gRPC reads it otherwise than everything else does."""

import ipaddress
import os


def kept_from_the_proxy(host: str, port: int) -> bool:
    """Tells whether `no_proxy`, or `NO_PROXY`, means a host.

    gRPC reads the name in small letters alone, and knows no `*` and no ports in it (grpcio 1.85.1), unlike requests,
    aiohttp and curl, which the same environment is for; what it does know counts beside this. `no_grpc_proxy` is for
    gRPC alone, and is left to it.
    """
    if "no_grpc_proxy" in os.environ:
        return False
    said = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    return any(_means(entry.strip().lower(), host.lower().rstrip("."), port) for entry in said.split(","))


def _means(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, separator, number = entry.rpartition(":")
    if separator and number.isdecimal() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]").rstrip(".")
    name = entry.lstrip(".")
    if host == name or (name and host.endswith(f".{name}")):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
