"""Finds out whether it was storage's certificate that made a connection fail, and says what to do about it."""

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from valetkey.errors import SettingsError

_SECONDS = 5.0
# Where urllib3 and azure-core keep what they got, besides where Python does.
_INNER = ("reason", "inner_exception")


def refused_certificate(error: BaseException) -> str:
    """Returns why a certificate was not trusted, in the words of OpenSSL; empty where something else is behind it.

    Libraries wrap what they got from ssl into errors of their own, some levels deep.
    """
    level, seen = [error], set[int]()
    while level:
        for each in level:
            # What aiohttp raises is one as well, but without the words.
            if isinstance(each, ssl.SSLCertVerificationError) and (why := getattr(each, "verify_message", "")):
                return str(why)
        seen.update(map(id, level))
        below = [
            inner
            for each in level
            for inner in (each.__cause__, each.__context__, *(getattr(each, name, None) for name in _INNER), *each.args)
        ]
        level = [each for each in below if isinstance(each, BaseException) and id(each) not in seen]
    return ""


def untrusted(host: str, why: str, remedy: str) -> SettingsError:
    """Returns the error for storage at `host` whose certificate was refused because of `why`."""
    return SettingsError(f"the certificate of storage at {host} is not trusted: {why}; {remedy}")


async def check_certificate(url: str, trusted: ssl.SSLContext, remedy: str) -> None:
    """Connects to storage once, for no longer than 5 s.

    Raises SettingsError where its certificate is not trusted. Whatever else fails may pass, and is not told here.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        return
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=trusted)
    except OSError as error:  # TimeoutError and SSLError are such, too.
        if why := refused_certificate(error):
            raise untrusted(parts.netloc, why, remedy) from None
        return
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
