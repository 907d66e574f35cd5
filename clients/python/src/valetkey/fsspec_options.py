"""What `valetkey.fsspec` is made with: which options it takes, and what its resource is."""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.config import apply_config

from valetkey.absolute_paths import from_the_root
from valetkey.errors import InvalidArgumentError
from valetkey.identity import IDENTITY_FILES

# "az" and its like besides ours: paths come from stores whose own URLs they are.
SCHEME = re.compile(r"(?:valetkey|az|azure|abfss?)://")
# What adlfs would take in place of our tokens. What the environment says of them counts for nothing.
_NOT_TAKEN = (
    *("account_name", "account_key", "account_host", "connection_string", "credential", "sas_token", "anon"),
    *("client_id", "client_secret", "tenant_id", "request_session", "location_mode", "api_key"),
)
# What people write for an option of ours.
_MEANT = {"connection_verify": "storage_ca_file", "verify": "storage_ca_file"}
_OURS = (
    *("permissions", "resource", "ttl", "connector", "source_ip", "purpose", "endpoint", "ca_file", "api_key_file"),
    *("token_file", "client_cert_file", "client_key_file", "config_file", "broker_timeout", "storage_ca_file"),
)

_PATHS = ("ca_file", *IDENTITY_FILES, "config_file", "storage_ca_file")
# Those of the environment.
_PATH_VARIABLES = ("VALETKEY_CONFIG", *(f"VALETKEY_{name.upper()}" for name in _PATHS))
# Where broker and identity are looked for besides: the config file, and the log-in.
_HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")


class Surroundings:
    """What the environment says of broker and identity: a part of an instance's key in fsspec's cache, hashed there.

    Paths of it mean what they do in the folder of now, as those among the options do.
    """

    def __get__(self, instance: object, owner: type | None = None) -> tuple[tuple[str, str], ...]:
        said = {k: v for k, v in os.environ.items() if k.startswith("VALETKEY_") or k in _HOMES}
        rooted = {name: str(from_the_root(said[name])) for name in _PATH_VARIABLES if said.get(name)}
        return tuple(sorted((said | rooted).items()))


class OfOneFolder(type(AbstractFileSystem)):  # type: ignore[misc] # fsspec's keeps instances by their arguments
    """Keeps two instances for one relative path that is given in two folders: these are two files, and two callers.

    So a path travels as it was meant, too, where the instance is pickled. One that is handed out again is for who is
    in the identity's file by then.
    """

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        """Returns a new instance, or the one that there is for these arguments."""
        given = apply_config(cls, options)
        rooted = {name: os.fspath(from_the_root(given[name])) for name in _PATHS if given.get(name)}
        instance = super().__call__(*arguments, **(given | rooted))
        instance._tokens.look()  # noqa: SLF001 (its own)
        return instance


def words(permissions: str | Iterable[str]) -> tuple[str, ...]:
    """Returns permissions one by one, of a list or of one string with commas."""
    given = permissions.split(",") if isinstance(permissions, str) else permissions
    return tuple(word.strip() for word in given)


def resource_of(resource: str | None, container: str | None) -> str:
    """Returns the id of what a file system is for, of its option and of the container of its URL.

    Raises InvalidArgumentError where both are missing, or do not fit.
    """
    if container is None and resource is None:
        raise InvalidArgumentError("no container: expected valetkey://CONTAINER/PATH, or resource='az://CONTAINER'")
    if container is None:
        return str(resource)
    if resource is None:
        return f"{'abfs' if '@' in container else 'az'}://{container}"
    named = SCHEME.sub("", resource, count=1).partition("/")[0].partition("@")[0]
    if named != container.partition("@")[0]:
        raise InvalidArgumentError(
            f"resource: {resource} is no part of the container {container} of the URL; expected az://{container}"
        )
    return resource


def refuse_other_credentials(options: Mapping[str, Any]) -> None:
    """Refuses what would be passed over in silence, and keys, which would travel where the file system is pickled."""
    for name in _NOT_TAKEN:
        if name in options:
            raise InvalidArgumentError(f"{name}: expected none: the broker says which account, and gives the tokens")
    # adlfs passes over what it does not know.
    for name in options:
        if name in _MEANT or (near := get_close_matches(name, _OURS, 1, 0.85)):
            raise InvalidArgumentError(f"{name}: unknown; expected {_MEANT.get(name) or near[0]}")
