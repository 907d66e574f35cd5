"""Lists of storage accounts, cut to what the broker looks at before the SDK makes objects of all the rest.

Of 200 accounts, with everything that Azure Resource Manager says of them, that takes ten times as long, at once.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from azure.core.pipeline.transport import AsyncHttpResponse

from valetkey_broker.adapters.azure.transport import BoundedPages, read_page

_KEPT = ("name", "kind")
_KEPT_PROPERTIES = ("isHnsEnabled",)


class AccountPages(BoundedPages):
    """A transport for lists of accounts."""

    def page(self, response: Any) -> Any:
        """Returns a page cut short. Raises ValueError for what is none."""
        return _Short(response, self.read)

    def read(self, account: Mapping[str, Any]) -> None:
        """Takes note of an account before it is cut; subclasses do."""


class _Short(AsyncHttpResponse):
    """An answer of which each account has only its name, its kind, and whether its namespace is hierarchical."""

    def __init__(self, response: Any, read: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(response.request, None)
        self.status_code = response.status_code
        self.headers = response.headers
        self.reason = response.reason
        self.content_type = response.content_type
        self._said = read_page(response)
        for each in self._said["value"]:
            if isinstance(each, dict):
                read(each)
        self._said["value"] = [_cut(each) if isinstance(each, dict) else each for each in self._said["value"]]

    def body(self) -> bytes:
        """Returns what is left, as JSON."""
        return json.dumps(self._said).encode()

    def json(self) -> Any:
        """Returns what is left."""
        return self._said


def _cut(account: dict[str, Any]) -> dict[str, Any]:
    kept = {name: account[name] for name in _KEPT if name in account}
    properties = account.get("properties")
    if isinstance(properties, dict):
        kept["properties"] = {name: properties[name] for name in _KEPT_PROPERTIES if name in properties}
    return kept
