"""Resource ids: parsed once, at the edge; what is authorised is the parsed value, and so is what is signed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from valetkey_broker.model.blob_container import BLOB_CONTAINER, BlobContainer
from valetkey_broker.model.cloud_profile import CloudProfile
from valetkey_broker.model.resource_type import ResourceType

_TYPES: Sequence[ResourceType] = (BlobContainer(),)

RESOURCE_TYPES: Mapping[str, ResourceType] = {each.name: each for each in _TYPES}
"""Every resource type by its name, which is the one in the API in lower case: `RESOURCE_TYPE_BLOB_CONTAINER`."""


@dataclass(frozen=True, slots=True)
class ResourceId:
    """A parsed resource id: a container, one blob in it, or a directory, whose id ends in a slash.

    `container` is the resource's name in its account, whatever its `type`. `prefix` is the path inside it, without a
    slash at its end. `account` and `endpoint` are None where the id did not name them. `endpoint` is that of the
    account, without a trailing slash, to be held against a cloud profile; it is never used to reach anything.
    """

    container: str
    prefix: str = ""
    account: str | None = None
    endpoint: str | None = None
    directory: bool = False
    type: str = BLOB_CONTAINER

    key: str = field(init=False, repr=False, compare=False)
    """What grants call it: a container by its name, all else with the scheme of its type, so that none means two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _key(self.type, self.container))

    @classmethod
    def parse(cls, text: str, field: str = "resource_id") -> "ResourceId":
        """Parses any accepted spelling.

        Raises InvalidFieldError where any part, down to the last character, breaks Azure's rules.
        """
        return _parsed(text, field)

    def __str__(self) -> str:
        slash = "/" if self.directory else ""
        whole = f"{RESOURCE_TYPES[self.type].scheme}://{self.container}"
        return f"{whole}/{self.prefix}{slash}" if self.prefix else whole

    @property
    def whole(self) -> "ResourceId":
        """The container itself, wherever its account is; of itself, where it names no path."""
        return ResourceId(self.container, type=self.type)

    def as_asked(self) -> str:
        """Returns the id as the caller meant it: where it named a host, that may be why nothing answers to it."""
        return str(self) if self.endpoint is None else f"{self.endpoint}/{str(self).partition('://')[2]}"


@dataclass(frozen=True, slots=True)
class Container:
    """A container that exists in an account, or what stands for one in another resource type."""

    account: str
    name: str
    url: str
    resource_type: str = BLOB_CONTAINER

    @classmethod
    def of(cls, profile: CloudProfile, account: str, name: str, resource_type: str = BLOB_CONTAINER) -> "Container":
        """Returns one by its place in a cloud."""
        endpoint = RESOURCE_TYPES[resource_type].endpoint(profile, account)
        return cls(account, name, f"{endpoint}/{name}", resource_type)

    @property
    def resource_id(self) -> str:
        """Canonical id, `az://NAME`."""
        return str(self.inside())

    @property
    def key(self) -> str:
        """What grants call it; see `ResourceId.key`."""
        return _key(self.resource_type, self.name)

    def inside(self, path: str = "") -> ResourceId:
        """Returns its id, or that of a path in it with all that is below."""
        return ResourceId(self.name, path, directory=True, type=self.resource_type)


def _key(resource_type: str, name: str) -> str:
    return name if resource_type == BLOB_CONTAINER else f"{RESOURCE_TYPES[resource_type].scheme}://{name}"


@lru_cache(maxsize=4096)  # pure, and callers ask for the same few containers all day
def _parsed(text: str, field_name: str) -> ResourceId:
    others = (each for each in RESOURCE_TYPES.values() if each.name != BLOB_CONTAINER and each.claims(text))
    of_type = next(others, RESOURCE_TYPES[BLOB_CONTAINER])
    said = of_type.parse(text, field_name)
    return ResourceId(said.name, said.path, said.account, said.endpoint, said.directory, of_type.name)
