"""Azure's own clients with tokens that renew themselves: azure-storage-blob and -file-datalake (extra `azure`).

    source = valetkey.TokenSource("az://models", ["read", "list"])
    container = valetkey.azure.container_client(source)

Every attempt of every request carries the token that is current then: retries, blocks and pages included. For any other
client of these libraries, `options(source)` are the keyword arguments to make it with.
"""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

try:
    from azure.core.credentials import AzureSasCredential
    from azure.core.exceptions import ServiceRequestError
    from azure.core.pipeline.transport import HttpTransport, RequestsTransport
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"valetkey.azure needs {error.name}; install valetkey[azure]", name=error.name) from None

from valetkey.account_and_container import account_and_container
from valetkey.azure.certificate_errors import told_as_untrusted
from valetkey.azure.missing_permissions import explain
from valetkey.azure.sas_query import with_sas
from valetkey.azure.signed_requests import Body, may_be_mended, sign, transport_settings
from valetkey.token_source import TokenSource

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient


class _Signature(str):
    """A token that takes the place of another one in the URL it is added to.

    azure-core adds a token to a URL at each attempt, and leaves the one of the last attempt there. Where the transport
    is not ours, this is what keeps a retry after a renewal from going out with two.
    """

    __slots__ = ()

    def __radd__(self, url: str) -> str:
        return with_sas(url, str(self))


class SasCredential(AzureSasCredential):
    """A credential whose signature is the current token's, whenever it is asked for.

    For libraries that take a credential and make their clients themselves, such as pyiceberg; otherwise use `options`.
    """

    def __init__(self, source: TokenSource) -> None:
        """Asks for no token yet."""
        self._source = source

    @property
    def signature(self) -> str:
        """The current token. Raises a ValetKeyError where there is none."""
        return _Signature(self._source.current().sas)

    def __repr__(self) -> str:
        return f"SasCredential({self._source!r})"


class SigningTransport(HttpTransport[Any, Any]):
    """Sends each attempt with the current token, once more with a fresh one where storage refuses that."""

    def __init__(self, source: TokenSource, transport: HttpTransport[Any, Any]) -> None:
        self._source = source
        self._transport = transport

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Sends a request, signed.

        Raises a ValetKeyError where there is no token, and SettingsError where storage's certificate is not trusted.
        """
        token, body = self._source.current(), Body(request)
        sign(request, token)
        try:
            response = self._transport.send(request, **kwargs)
        except ServiceRequestError as error:
            if told := told_as_untrusted(error, request.url):
                raise told from error
            raise
        if not (may_be_mended(response) and body.again and self._source.may_renew(token)):
            explain(response, request, token)
            return response
        try:
            fresh = self._source.renew(token)
        finally:
            if hasattr(response, "close"):
                response.close()
        body.rewind()
        sign(request, fresh)
        return self._transport.send(request, **kwargs)

    def open(self) -> None:
        """Opens what is below."""
        self._transport.open()

    def close(self) -> None:
        """Closes what is below; the source goes on."""
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._transport.__exit__(kind, error, traceback)


def options(source: TokenSource, **transport: Any) -> dict[str, Any]:
    """Returns the keyword arguments for a client of azure-storage-blob or -file-datalake: credential and transport.

    `transport` are the arguments of azure-core's RequestsTransport, such as `connection_verify=CA_FILE`.
    """
    below = RequestsTransport(**transport_settings(transport))
    return {"credential": SasCredential(source), "transport": SigningTransport(source, below)}


def container_client(source: TokenSource, **transport: Any) -> "ContainerClient":
    """Returns a client for the container of a source's token; asks for the token. `transport` is as for `options`."""
    from azure.storage.blob import ContainerClient  # noqa: PLC0415 (-file-datalake does without)

    account_url, container = account_and_container(source.current())
    return ContainerClient(account_url, container, **options(source, **transport))


__all__ = ["SasCredential", "SigningTransport", "container_client", "options"]
