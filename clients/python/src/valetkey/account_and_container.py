"""Where a token leads, for libraries that want an account and a container. No I/O."""

from valetkey.token_values import Token


def account_and_container(token: Token) -> tuple[str, str]:
    """Returns the URL of the account and the name of the container that a token is for."""
    container = token.resource.resource_id.removeprefix("az://").partition("/")[0]
    scheme, _, rest = token.url.partition("://")
    host, *path = rest.split("/")
    # Emulators on an address have the account in front of the path.
    account = "" if host.startswith(f"{token.resource.account}.") or path[:1] == [container] else f"/{path[0]}"
    return f"{scheme}://{host}{account}", container
