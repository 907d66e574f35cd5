"""What each type of resources brings along to be named: how its ids are written, and what people are told of it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from valetkey_broker.model.cloud_profile import CloudProfile


class ParsedId(NamedTuple):
    """What one spelling of a resource id says. `account` and `endpoint` are None where it does not name them."""

    name: str
    path: str = ""
    account: str | None = None
    endpoint: str | None = None
    directory: bool = False


class ResourceType(Protocol):
    """One type of resources: each has a name that is unique in its storage account, and perhaps paths inside.

    Canonical ids are `SCHEME://NAME[/PATH]`. How the cloud finds, proves and signs for them is the adapter's
    (`adapters/azure/resource_types/`).
    """

    @property
    def name(self) -> str:
        """As commands and documents write it, for example `blob-container`."""
        ...

    @property
    def scheme(self) -> str:
        """What its canonical ids begin with, for example `az`; no other type has it."""
        ...

    @property
    def noun(self) -> str:
        """What sentences call one, for example "container"."""
        ...

    @property
    def title(self) -> str:
        """Its name for people, for example "Blob container"."""
        ...

    @property
    def help(self) -> str:
        """What it is, in a sentence or two."""
        ...

    @property
    def id_examples(self) -> Sequence[str]:
        """How its ids may be written, the canonical form first."""
        ...

    def claims(self, text: str, /) -> bool:
        """Tells whether a text, right or wrong, can only be meant as an id of this type."""
        ...

    def parse(self, text: str, field: str) -> ParsedId:
        """Returns what an id says, by a full match of the type's naming rules. Raises InvalidFieldError."""
        ...

    def endpoint(self, profile: CloudProfile, account: str) -> str:
        """Returns the endpoint of such resources of an account, without a trailing slash."""
        ...
