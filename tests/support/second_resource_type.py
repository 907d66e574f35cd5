"""A second resource type, which only tests have: shelves, which are containers with some names."""

import re
from collections.abc import Sequence
from typing import cast

import pytest

from valetkey_broker.adapters.azure import sas
from valetkey_broker.adapters.azure.blob_storage import BlobStorage
from valetkey_broker.adapters.azure.resource_types import AZURE_RESOURCE_TYPES, AzureResourceType
from valetkey_broker.api import convert
from valetkey_broker.model import RESOURCE_TYPES, CloudProfile, InvalidFieldError, ParsedId

SHELF = "test-shelf"
NUMBER = 99
"""What the API calls it. No enum has it, as no client knows the types of a later broker."""
_ID = re.compile(r"shelf://((?:shelf|demo)-[a-z0-9-]{1,40})")


class Shelf:
    """What one module in model/ holds."""

    name = SHELF
    scheme = "shelf"
    noun = "shelf"
    title = "Shelf"
    help = "A shelf that only a test has."
    id_examples: Sequence[str] = ("shelf://shelf-NAME",)

    def claims(self, text: str, /) -> bool:
        return text.startswith("shelf://")

    def parse(self, text: str, field: str) -> ParsedId:
        if match := _ID.fullmatch(text):
            return ParsedId(match[1])
        raise InvalidFieldError(field, "is no shelf", "shelf://shelf-NAME")

    def endpoint(self, profile: CloudProfile, account: str) -> str:
        return profile.blob_url(account)


class _Shelves(BlobStorage):
    """What one module in adapters/azure/resource_types/ holds."""

    async def names(self) -> Sequence[str]:
        return [name for name in await super().names() if _ID.fullmatch(f"shelf://{name}")]


def add_second_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the rows of shelves to the tables, behind those that are there, for one test."""
    monkeypatch.setitem(cast("dict[str, object]", RESOURCE_TYPES), SHELF, Shelf())
    by_azure = AzureResourceType(SHELF, _Shelves, sas.sign)
    monkeypatch.setitem(cast("dict[str, object]", AZURE_RESOURCE_TYPES), SHELF, by_azure)
    numbers = convert.RESOURCE_TYPES
    monkeypatch.setitem(cast("dict[str, int]", numbers.to_proto), SHELF, NUMBER)
    monkeypatch.setitem(cast("dict[int, str]", numbers._from_proto), NUMBER, SHELF)
