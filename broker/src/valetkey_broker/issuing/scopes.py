"""Decides what a token is cut to: exactly what was asked for, or a refusal; never anything wider."""

from functools import lru_cache

from valetkey_broker.errors import scope_unsupported
from valetkey_broker.model import Container, ResourceId, Scope


def scope_of(resource: ResourceId, container: Container) -> Scope:
    """Returns the scope of a token for `resource`, which lies in `container`.

    Raises SCOPE_UNSUPPORTED for a path, which needs an account with hierarchical namespace.
    """
    if resource.prefix:
        raise scope_unsupported(resource)
    return _whole(container)


@lru_cache(maxsize=4096)  # pure, and callers ask for the same few containers all day
def _whole(container: Container) -> Scope:
    return Scope.of_container(container)
