"""The resource type `blob-container`: how its ids are written, and Azure's naming rules for them."""

import re
from collections.abc import Sequence

from valetkey_broker.model.cloud_profile import CloudProfile
from valetkey_broker.model.errors import InvalidFieldError, shown
from valetkey_broker.model.resource_type import ParsedId

_MAX_LENGTH = 1200
# What a blob's name may have, and so a path at most; from the same page.
_MAX_PATH, _MAX_SEGMENTS = 1024, 254
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER = re.compile(r"\$root|\$web|\$logs|(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# A segment of a path: printable ASCII that needs no escaping in a URL, so that what is signed, what stands in the URL
# and what a grant says are the same characters (docs/adr/0010).
_SEGMENT = re.compile(r"[A-Za-z0-9_.=@+,~!()'-]+")
_ACCOUNT = r"(?P<account>[a-z0-9]{3,24})"
# Accounts with a DNS zone of their own have it in their host: ACCOUNT.z12.blob.storage.azure.net
_ACCOUNT_HOST = rf"(?P<host>{_ACCOUNT}(?:\.z[0-9]{{1,2}})?)"
_HOST_LABELS = r"(?P<suffix>[a-z0-9-]+(?:\.[a-z0-9-]+)+)"
_ABFS = re.compile(rf"(?P<container>[^@/]+)@{_ACCOUNT_HOST}\.dfs\.{_HOST_LABELS}(?P<path>/.*)?", re.DOTALL)
_WASB = re.compile(rf"(?P<container>[^@/]+)@{_ACCOUNT_HOST}\.blob\.{_HOST_LABELS}(?P<path>/.*)?", re.DOTALL)
# How Hadoop writes ids that name their account; without it, abfs:// is short as az:// is.
_AT_ACCOUNT = {"abfs": _ABFS, "abfss": _ABFS, "wasb": _WASB, "wasbs": _WASB}
# The portal shows the dfs host of accounts with hierarchical namespace.
_URL = re.compile(rf"{_ACCOUNT_HOST}\.(?:blob|dfs)\.{_HOST_LABELS}/(?P<rest>.*)", re.DOTALL)
# Emulators such as Azurite put the account into the path: https://127.0.0.1:10000/ACCOUNT/CONTAINER
_PATH_STYLE_URL = re.compile(
    rf"(?P<authority>(?:127\.0\.0\.1|localhost|\[::1\]):[0-9]{{1,5}})/{_ACCOUNT}/(?P<rest>.*)", re.DOTALL
)
_VERSION_OF_BLOB = re.compile(r"[?&](?:snapshot|versionid)=", re.IGNORECASE)
_EXPECTED = (
    "CONTAINER, az://CONTAINER, abfs[s]://CONTAINER@ACCOUNT.dfs.core.windows.net, "
    "wasb[s]://CONTAINER@ACCOUNT.blob.core.windows.net or https://ACCOUNT.blob.core.windows.net/CONTAINER"
)
_CONTAINER_EXPECTED = (
    "a container name of 3 to 63 lower-case letters, digits and single inner hyphens, as Azure's naming rules say"
)


BLOB_CONTAINER = "blob-container"
"""Name of the type."""


class BlobContainer:
    """Containers of Azure Blob Storage; see resource_type.ResourceType."""

    name = BLOB_CONTAINER
    scheme = "az"
    noun = "container"
    title = "Blob container"
    help = (
        "A container of Azure Blob Storage. Callers get SAS tokens for it, with the permissions and the life that "
        "their grants say."
    )
    id_examples: Sequence[str] = (
        "az://CONTAINER",
        "CONTAINER",
        "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net",
        "https://ACCOUNT.blob.core.windows.net/CONTAINER",
    )

    def claims(self, _text: str, /) -> bool:
        """Takes every id that no other type takes: containers need no scheme."""
        return True

    def parse(self, text: str, field: str) -> ParsedId:
        """Parses any accepted spelling. Raises InvalidFieldError."""
        return _parse(text, field)

    def endpoint(self, profile: CloudProfile, account: str) -> str:
        """Returns the blob endpoint of the account."""
        return profile.blob_url(account)


def _parse(text: str, field: str) -> ParsedId:
    if not text:
        raise InvalidFieldError(field, "is empty", _EXPECTED)
    if "?" in text:
        raise _question_mark(text, field)
    if len(text) > _MAX_LENGTH:
        raise InvalidFieldError(field, f"is {len(text)} characters long", f"at most {_MAX_LENGTH} characters")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return ParsedId(_container(text, text, field))
    if scheme in ("az", "azure") or (scheme == "abfs" and "@" not in rest.partition("/")[0]):
        name, prefix, directory = _split(rest, text, field)
        return ParsedId(name, prefix, directory=directory)
    if (at_account := _AT_ACCOUNT.get(scheme)) and (match := at_account.fullmatch(rest)):
        endpoint = f"https://{match['host']}.blob.{match['suffix']}"
        name, prefix, directory = _split(match["container"] + (match["path"] or ""), text, field)
        return ParsedId(name, prefix, match["account"], endpoint, directory)
    if scheme == "https" and (match := _URL.fullmatch(rest)):
        endpoint = f"https://{match['host']}.blob.{match['suffix']}"
        name, prefix, directory = _split(match["rest"], text, field)
        return ParsedId(name, prefix, match["account"], endpoint, directory)
    if scheme == "https" and (match := _PATH_STYLE_URL.fullmatch(rest)):
        endpoint = f"https://{match['authority']}/{match['account']}"
        name, prefix, directory = _split(match["rest"], text, field)
        return ParsedId(name, prefix, match["account"], endpoint, directory)
    raise InvalidFieldError(field, f"{shown(text)} is not a resource id", _EXPECTED)


def is_container_name(name: str) -> bool:
    """Tells whether a container can have that name by Azure's rules."""
    return _CONTAINER.fullmatch(name) is not None


def check_prefix(field: str, value: str) -> str:
    """Returns a path inside a container, without a trailing slash, under the rules that resource ids follow.

    Raises InvalidFieldError for one that is empty, begins with a slash, has empty segments, `.`, `..`, or characters
    that would need escaping.
    """
    if not value:
        raise InvalidFieldError(field, "is empty", f"a path of 1 to {_MAX_PATH} characters")
    return _path(value, value, field)


def _question_mark(text: str, field: str) -> InvalidFieldError:
    if _VERSION_OF_BLOB.search(text):
        return InvalidFieldError(
            field,
            f"{shown(text)} goes on with a snapshot or a version, for which no tokens are given",
            "the blob itself, or its container: leave out everything from the ? on",
        )
    return InvalidFieldError(
        field, f"{shown(text)} goes on with a ?, as SAS URLs do", "an id alone: leave out everything from the ? on"
    )


def _split(rest: str, text: str, field: str) -> tuple[str, str, bool]:
    """Returns the container, the path in it, and whether that means a directory: a slash at its end says so."""
    name, _, prefix = rest.partition("/")
    container = _container(name, text, field)
    if not prefix:
        return container, "", False
    return container, _path(prefix, text, field), prefix.endswith("/")


def _path(prefix: str, text: str, field: str) -> str:
    path = prefix.removesuffix("/")
    segments = path.split("/")
    if len(path) > _MAX_PATH or len(segments) > _MAX_SEGMENTS:
        raise InvalidFieldError(
            field,
            f"has a path of {len(path)} characters and {len(segments)} segments",
            f"at most {_MAX_PATH} characters and {_MAX_SEGMENTS} segments, as Azure has it for the names of blobs",
        )
    for segment in segments:
        if segment in (".", "..") or not _SEGMENT.fullmatch(segment):
            raise InvalidFieldError(
                field,
                f"{shown(text)} has the path segment {shown(segment)}",
                "segments of A-Z, a-z, 0-9 and _.=@+,~!()'- that are neither empty nor . nor ..; for what has other "
                "names, ask for its directory or its container",
            )
    return path


def _container(name: str, text: str, field: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise InvalidFieldError(field, f"{shown(text)} names no container", _CONTAINER_EXPECTED)
    return name
