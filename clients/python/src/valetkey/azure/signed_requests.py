"""What is done to each request before it goes out, and which refusals a fresh token may mend. No I/O."""

from collections.abc import Mapping
from typing import Any

from valetkey.azure.sas_query import same_account, with_sas, within, without_sas
from valetkey.sas_parameters import fresh_token_may_help
from valetkey.values import Token

# Those that azure-storage-blob takes itself.
_CONNECT_SECONDS, _READ_SECONDS = 20, 60
_SOURCES = ("x-ms-copy-source", "x-ms-rename-source")


def sign(request: Any, token: Token) -> None:
    """Puts a token in place of every SAS of a request: into its URL, and into what it copies or renames.

    What leads to another account goes out without any: it is no business of whoever is there.
    """
    request.url = with_sas(request.url, token.sas) if same_account(request.url, token.url) else without_sas(request.url)
    for name in _SOURCES:
        source = request.headers.get(name)
        if not source:
            continue
        # Renaming names its source by its path alone.
        url = source if "://" in source else "/".join(request.url.split("/", 3)[:3]) + source
        if within(url, token.url):
            request.headers[name] = with_sas(source, token.sas)


def may_be_mended(response: Any) -> bool:
    """Tells whether a refusal may be due to the token's age."""
    return fresh_token_may_help(response.status_code, response.headers.get("x-ms-error-code", ""))


def transport_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a transport: those that are given, and the timeouts of azure-storage-blob's own."""
    return {"connection_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS, **given}


class Body:
    """A request's body, which can be sent twice where it is no stream, or one that goes back."""

    def __init__(self, request: Any) -> None:
        body: Any = getattr(request, "body", None)
        self._seek: Any = None
        self._start = 0
        self.again = body is None or isinstance(body, (bytes, str))
        tell, seek = getattr(body, "tell", None), getattr(body, "seek", None)
        if tell and seek:
            try:
                self._start, self._seek = tell(), seek
                self.again = True
            except (OSError, ValueError):  # a pipe
                self.again = False

    def rewind(self) -> None:
        """Goes back to where it began."""
        if self._seek is not None:
            self._seek(self._start)
