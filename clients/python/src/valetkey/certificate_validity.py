"""From when to when a certificate counts. Read by hand: the client has no library for them, and needs this alone."""

import ssl
from datetime import UTC, datetime

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_LONG_FORM = 0x80
_END = "-----END CERTIFICATE-----"


def validity(pem: bytes) -> tuple[datetime, datetime]:
    """Returns from when to when the first certificate in PEM form counts, in UTC.

    Raises ValueError where there is none, or where it is malformed.
    """
    text = pem.decode("ascii")
    der = ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") : text.index(_END) + len(_END)])
    # Certificate → TBSCertificate → version (optional), serial number, algorithm, issuer, validity (RFC 5280, 4.1)
    _, certificate, _ = _element(der)
    _, body, _ = _element(certificate)
    tag, _, rest = _element(body)
    if tag == _VERSION:
        _, _, rest = _element(rest)
    for _ in ("algorithm", "issuer"):
        _, _, rest = _element(rest)
    tag, times, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("no validity")
    start, rest = _time(times)
    end, _ = _time(rest)
    return start, end


def _time(der: bytes) -> tuple[datetime, bytes]:
    """Returns the time that comes first, and what comes after it."""
    tag, content, rest = _element(der)
    digits = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: 50 to 99 are of the last century
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC), rest


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Returns the tag and the content of the first element, and what comes after it."""
    if len(der) < 2:  # noqa: PLR2004 (a tag and a length)
        raise ValueError("cut short")
    tag, length, start = der[0], der[1], 2
    if length >= _LONG_FORM:
        start += length - _LONG_FORM
        length = int.from_bytes(der[2:start], "big")
    if len(der) < start + length:
        raise ValueError("cut short")
    return tag, der[start : start + length], der[start + length :]
