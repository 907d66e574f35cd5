"""Uses a token as whoever it was issued to would: writes a blob, reads it, lists it, deletes it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError, ResourceExistsError

from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.errors import Reason
from valetkey_broker.model import TokenUse

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobServiceClient

_NOT_FOUND = 404
_THERE = "BlobAlreadyExists"


class TokenTrial:
    """One blob of one container, through a client whose credential is the token. Every method raises BrokerError.

    The blob's name is made up, and nobody else's.
    """

    def __init__(self, client: "BlobServiceClient", asking: Asking, container: str, blob: str) -> None:
        self._client = client
        self._asking = asking
        self._container = client.get_container_client(container)
        self._name = blob
        self._blob = self._container.get_blob_client(blob)
        self._uses: Mapping[TokenUse, Callable[[], Awaitable[None]]] = {
            TokenUse.WRITE: self._write,
            TokenUse.READ: self._read,
            TokenUse.LIST: self._list,
            TokenUse.DELETE: self._delete,
            TokenUse.OUTSIDE: self._outside,
        }

    async def use(self, use: TokenUse) -> None:
        """Does one thing with the token."""
        await ask(self._asking, self._uses[use])

    async def _write(self) -> None:
        try:
            await self._blob.upload_blob(self._name.encode(), overwrite=False)
        except ResourceExistsError as error:
            # Tried twice, the first answer being lost: a name like this one is nobody else's.
            if getattr(error, "error_code", None) != _THERE:
                raise

    async def _read(self) -> None:
        read = await (await self._blob.download_blob()).readall()
        if read != self._name.encode():
            raise self._missing("what is read is not what was written")

    async def _list(self) -> None:
        async for found in self._container.list_blobs(name_starts_with=self._name, results_per_page=1):
            if found.name == self._name:
                return
            break
        raise self._missing("the listing does not have it")

    async def _delete(self) -> None:
        try:
            await self._blob.delete_blob()
        except HttpResponseError as error:
            if error.status_code != _NOT_FOUND:  # Tried twice, the first answer being lost.
                raise

    async def _outside(self) -> None:
        async for _ in self._client.list_containers(results_per_page=1):
            break

    def _missing(self, what: str) -> Exception:
        return self._asking.failed(Reason.RESOURCE_NOT_FOUND, f"Cannot {self._asking}: {what}.")
