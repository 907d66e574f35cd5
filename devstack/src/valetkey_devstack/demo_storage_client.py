"""A container as a stack component sees it: by its URL and a token, with azure-storage-blob."""

from typing import Any

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from valetkey_devstack.stack import DevStack


class DemoFailedError(Exception):
    """A step did not go as it must; the text says how."""


class Storage:
    """A container as azure-storage-blob sees it with a SAS: what a stack component does with the token."""

    def __init__(self, stack: DevStack, url: str, sas_token: str) -> None:
        self._client = ContainerClient.from_container_url(
            f"{url}?{sas_token}",
            transport=RequestsTransport(use_env_settings=False, connection_verify=str(stack.ca_file)),
            retry_total=0,
        )

    def write(self, name: str, text: str) -> None:
        self._client.upload_blob(name, text, overwrite=True)

    def read(self, name: str) -> str:
        return self._client.download_blob(name, encoding="utf-8").readall()

    def delete(self, name: str) -> None:
        self._client.delete_blob(name)

    def refused(self, action: str, *arguments: str) -> str:
        """Returns the storage service's error code. Raises DemoFailedError where it lets the action pass."""
        try:
            getattr(self, action)(*arguments)
        except (HttpResponseError, ClientAuthenticationError) as error:
            response: Any = error.response
            return f"{error.status_code} {response.headers.get('x-ms-error-code')}"
        raise DemoFailedError(f"the storage service allowed {action}, which the token does not")
