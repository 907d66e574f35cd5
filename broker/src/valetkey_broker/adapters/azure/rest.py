"""Calls of Azure's services for which there is no client worth its weight: one request, one answer in JSON."""

from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
from azure.core.rest import HttpRequest

from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.adapters.azure.transport import Network

_FIRST_ERROR = 400
_NO_CONTENT = 204


class Rest:
    """The service at `endpoint`, asked with tokens of `credential` for it."""

    def __init__(self, endpoint: str, network: Network, credential: Any, asking: Asking) -> None:
        self._endpoint = endpoint
        self._asking = asking
        policy = AsyncBearerTokenCredentialPolicy(credential, f"{endpoint}/.default")
        self._pipeline: AsyncPipeline[Any, Any] = AsyncPipeline(network.transport(endpoint), [policy])

    async def get(self, path: str) -> Mapping[str, Any]:
        """Returns what is at `path`. Raises BrokerError."""
        return await self._send(HttpRequest("GET", self._endpoint + path), once=False)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Has something done, asking once. Raises BrokerError: CLOUD_UNAVAILABLE where it may be done all the same."""
        return await self._send(HttpRequest("POST", self._endpoint + path, json=body), once=True)

    async def _send(self, request: HttpRequest, *, once: bool) -> Mapping[str, Any]:
        async def sent() -> Mapping[str, Any]:
            response = (await self._pipeline.run(request)).http_response
            if response.status_code >= _FIRST_ERROR:
                raise HttpResponseError(response=response)
            said = {} if response.status_code == _NO_CONTENT else response.json()
            if not isinstance(said, dict):
                raise TypeError("no JSON object")
            return said

        return await ask(self._asking, sent, once=once)
