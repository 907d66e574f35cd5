"""Ids and URLs of resources, taken apart. What is wrong in them stays to be seen: the broker says so."""


def container_and_path(resource: str) -> tuple[str, str]:
    """Returns the name of the container, and the path in it."""
    scheme, found, rest = resource.partition("://")
    if not found:
        scheme, rest = "az", resource
    first, _, path = rest.partition("/")
    if scheme in ("http", "https"):
        account = first
        first, _, path = path.partition("/")
        # Emulators on an address have the account in front of the path.
        if ".blob." not in account and ".dfs." not in account:
            first, _, path = path.partition("/")
    return first.partition("@")[0], path.rstrip("/")


def container_of(resource: str) -> str:
    """Returns the id or URL of the container that a resource lies in."""
    _, path = container_and_path(resource)
    return resource.rstrip("/").removesuffix(path).rstrip("/") if path else resource
