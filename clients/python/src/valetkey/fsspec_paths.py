"""Which blob a URL or a path means to a file system of `valetkey.fsspec`, and whether it is of its account."""

from collections.abc import Callable
from typing import Any

from fsspec.utils import stringify_path

from valetkey.errors import InvalidArgumentError
from valetkey.fsspec_options import SCHEME


class StripProtocol:
    """Makes CONTAINER/PATH of a path; of a file system's own, which knows its account, of no other account's."""

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[[Any], Any]:
        account = getattr(instance, "_account", "")

        def strip(path: Any) -> Any:
            return [strip(each) for each in path] if isinstance(path, list) else _bare(stringify_path(path), account)

        return strip


def _bare(url: str, account: str) -> str:
    """Returns CONTAINER/PATH of a URL or path; unlike adlfs, whatever characters are in it.

    Raises InvalidArgumentError where the URL is of another account than the one that is known, if one is.
    """
    scheme = SCHEME.match(url)
    first, slash, rest = url[scheme.end() if scheme else 0 :].lstrip("/").partition("/")
    if scheme:
        refuse_other_account(first, account)
        first = first.partition("@")[0]
    return first + slash + rest


def refuse_other_account(container: str, account: str) -> None:
    """Raises InvalidArgumentError where `CONTAINER@HOST` is of another account; without a host, or an account, never.

    The name alone counts: storage has several hosts for an account, and an emulator has others.
    """
    host = container.partition("@")[2]
    if host and account and host.partition(".")[0].lower() != account:
        raise InvalidArgumentError(
            f"{container}: this file system has a token for the account {account} only; expected a container of that "
            f"account, or another file system for {host}"
        )
