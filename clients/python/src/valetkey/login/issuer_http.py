"""Requests to an issuer: TLS that is verified, one answer in JSON, bounded in size and in time."""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlencode, urlsplit

from valetkey.errors import SettingsError, UnavailableError, ValetKeyError
from valetkey.login.login_offer import is_https

_MOST_BYTES = 256 * 1024
_OK = 200
_SERVER_ERROR = 500
_TOO_MANY = 429


class IssuerHttp:
    """Asks an issuer. No redirects, no cookies; proxies of the environment as everywhere, but never to loopback.

    `seconds` is how long a request may take, resolving the name and reading the answer included.
    """

    def __init__(self, ca_file: Path | None, *, seconds: float = 10.0) -> None:
        """Raises SettingsError where the CA file cannot be used."""
        self._ca_file = ca_file
        self._seconds = seconds
        try:
            self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        except ssl.SSLError:
            raise SettingsError(f"issuer CA file: {ca_file} holds no certificate; expected CAs in PEM form") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "is not a path"
            raise SettingsError(f"issuer CA file: {ca_file} cannot be read: {why}") from None

    def get(self, url: str) -> dict[str, Any]:
        """Returns the JSON object at a URL. Raises as `post` does, and ValetKeyError for another status than 200."""
        status, answer = self._ask(urllib.request.Request(url, headers=_headers()))  # noqa: S310 (_answer: https only)
        if status != _OK:
            raise ValetKeyError(f"{_host(url)} answered with status {status}; expected 200, redirects are not followed")
        return answer

    def post(self, url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Returns the status and the JSON object that a form is answered with.

        Raises UnavailableError where no answer comes, or one that says to try again; SettingsError where the issuer's
        certificate is not trusted; ValetKeyError for what is no answer of an issuer.
        """
        return self._ask(_posted(url, form))

    def submit(self, url: str, form: Mapping[str, str]) -> int:
        """Returns the status that a form is answered with; what else is in the answer is nobody's. Raises as `post`."""
        return self._answer(_posted(url, form))[0]

    def _ask(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        url = request.full_url
        status, raw = self._answer(request)
        if len(raw) > _MOST_BYTES:
            raise ValetKeyError(f"the answer of {_host(url)} is over {_MOST_BYTES} bytes; expected a short JSON object")
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ValetKeyError(f"{_host(url)} answered with status {status} and no JSON object; is it an OIDC issuer?")
        return status, answer

    def _answer(self, request: urllib.request.Request) -> tuple[int, bytes]:
        url = request.full_url
        if not is_https(url):
            raise ValetKeyError(f"{url!r} is not asked: expected an https:// URL")
        status, raw = self._within_time(request)
        if status >= _SERVER_ERROR or status == _TOO_MANY:
            raise UnavailableError(f"the issuer at {_host(url)} answered with status {status}; try again later")
        return status, raw

    def _within_time(self, request: urllib.request.Request) -> tuple[int, bytes]:
        # Timeouts of sockets start anew with every byte, and resolving a name has none: so a thread of its own.
        outcome: SimpleQueue[tuple[int, bytes] | Exception] = SimpleQueue()

        def work() -> None:
            try:
                outcome.put(self._send(request))
            except Exception as error:  # noqa: BLE001 (raised again by the one who waits)
                outcome.put(error)

        threading.Thread(target=work, name="valetkey-issuer", daemon=True).start()
        try:
            found = outcome.get(timeout=self._seconds)
        except Empty:
            host = _host(request.full_url)
            raise UnavailableError(f"the issuer at {host} did not answer within {self._seconds:g} s") from None
        if isinstance(found, Exception):
            raise self._error(found, _host(request.full_url)) from None
        return found

    def _send(self, request: urllib.request.Request) -> tuple[int, bytes]:
        proxies = [urllib.request.ProxyHandler({})] if _is_loopback(urlsplit(request.full_url).hostname or "") else []
        opener = urllib.request.build_opener(*proxies, urllib.request.HTTPSHandler(context=self._tls), _NoRedirects())
        try:
            with opener.open(request, timeout=self._seconds) as answer:
                return answer.status, answer.read(_MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(_MOST_BYTES + 1)

    def _error(self, error: Exception, host: str) -> ValetKeyError:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            where = f"CA file {self._ca_file}" if self._ca_file else "this machine's CAs"
            return SettingsError(
                f"the certificate of the issuer at {host} does not hold by {where}: {cause.verify_message}; "
                "for a private CA, name its file: valetkey login --issuer-ca-file FILE"
            )
        why = getattr(cause, "strerror", None) or type(cause).__name__
        return UnavailableError(f"the issuer at {host} cannot be reached: {why}; try again")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for the answer: a code or a token goes to no place that was not asked for."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _posted(url: str, form: Mapping[str, str]) -> urllib.request.Request:
    return urllib.request.Request(url, urlencode(form).encode(), _headers(), method="POST")  # noqa: S310 (_answer)


def _headers() -> dict[str, str]:
    return {"Accept": "application/json", "User-Agent": "valetkey"}


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
