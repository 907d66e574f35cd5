"""Tells connections that broke off from those that never came about, by what libraries wrap the reason in."""

import ssl
from collections.abc import Iterator

import requests
import urllib3

_BROKEN = (
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError,
    # As TLS calls a connection that ended without its word for that, be it amid the handshake.
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)


def broke_off(error: BaseException) -> bool:
    """Tells whether the other side was there, and the connection ended before the whole answer had come."""
    return any(isinstance(each, _BROKEN) for each in _wrapped(error))


def certificate_refused(error: BaseException) -> bool:
    """Tells whether a certificate was looked at and not taken."""
    return any(isinstance(each, ssl.CertificateError) for each in _wrapped(error))


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception of requests, what it holds of urllib3, and what that holds of ssl."""
    found: object = error
    while isinstance(found, BaseException):
        yield found
        found = getattr(found, "reason", None) or next((each for each in found.args if each is not found), None)
