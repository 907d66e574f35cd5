"""Batches: requests inside of a request, each with a path and a SAS token of its own."""

import re

from valetkey.proxy.admission import LocalKey
from valetkey.proxy.refusals import Refusal
from valetkey.proxy.served_container import Query, ServedContainer, visible

# Source: "Blob Batch", limits: 256 requests, 4 MiB.
MOST_BYTES = 4 * 1024 * 1024
_MOST_REQUESTS = 256
_BOUNDARY = re.compile(r'(?i)multipart/mixed\s*;\s*boundary="?([-\w\'()+,./:=? ]{1,70}?)"?\s*')
_LINE_BYTES = 8 * 1024
_REQUEST = re.compile(rb"(DELETE|PUT) (/[!\"$-~]*) HTTP/1\.1")
_KEPT = re.compile(rb"(?i)content-length|content-type|if-[a-z-]+|x-ms-[a-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_DROPPED = (b"x-ms-copy-source", b"x-ms-copy-source-authorization", b"x-ms-rename-source")


def signed_batch(body: bytes, content_type: str, place: ServedContainer, key: LocalKey, sas: str) -> bytes:
    """Returns a batch whose requests are signed with `sas`, built anew from what was understood of it.

    Raises Refusal where one of them is for another place, shows another signature than the proxy's, or is not what a
    batch holds: deletions and changes of tier.
    """
    match = _BOUNDARY.fullmatch(content_type)
    if match is None:
        raise Refusal(400, "InvalidHeaderValue", "The batch has no boundary; expected multipart/mixed.")
    boundary = match[1].encode()
    lines = re.split(rb"(?:^|\r?\n)--" + re.escape(boundary), body)
    if len(lines) < 3 or lines[0].strip() or not lines[-1].startswith(b"--"):  # noqa: PLR2004 (head, one, tail)
        raise _not_a_batch()
    parts = lines[1:-1]
    if len(parts) > _MOST_REQUESTS:
        raise Refusal(400, "InvalidInput", f"The batch holds over {_MOST_REQUESTS} requests.")
    made = [b"--" + boundary + b"\r\n" + _signed(part, place, key, sas) for part in parts]
    return b"".join(made) + b"--" + boundary + b"--\r\n"


def _signed(part: bytes, place: ServedContainer, key: LocalKey, sas: str) -> bytes:
    head, _, rest = part.lstrip(b" \t").replace(b"\r\n", b"\n").removeprefix(b"\n").partition(b"\n\n")
    request, _, after = rest.partition(b"\n\n")
    first, *headers = request.strip(b"\n").split(b"\n")
    if any(len(line) > _LINE_BYTES for line in (*head.split(b"\n"), *headers)):
        raise Refusal(400, "InvalidHeaderValue", f"A header of the batch is longer than {_LINE_BYTES} bytes.")
    match = _REQUEST.fullmatch(first)
    if match is None or after.strip():
        raise _not_a_batch()
    path, _, text = match[2].decode("ascii").partition("?")
    query = Query.parse(text)
    # The batch as a whole was let in; a signature of another proxy's, or of a token, has no place in it.
    if query.signatures and not key.opens(query.signatures):
        raise Refusal(403, "AuthenticationFailed", "A request of the batch shows another SAS token than this proxy's.")
    method = match[1].decode()
    if method == "PUT" and query.value("comp") != "tier":
        raise _not_a_batch()
    target = f"{place.base}/{place.container}{place.rest_of(path)}?{query.signed(sas)}"
    if not visible(target):
        raise _not_a_batch()
    found = [f"{method} {target} HTTP/1.1".encode(), *_headers(headers)]
    return b"\r\n".join((*_part_headers(head), b"", *found, b"", b""))


def _part_headers(head: bytes) -> list[bytes]:
    number = re.search(rb"(?im)^content-id:[ \t]*([0-9]{1,9})[ \t]*$", head)
    if number is None or not re.search(rb"(?im)^content-type:[ \t]*application/http", head):
        raise _not_a_batch()
    return [b"Content-Type: application/http", b"Content-Transfer-Encoding: binary", b"Content-ID: " + number[1]]


def _headers(lines: list[bytes]) -> list[bytes]:
    """Returns those that may go along. One expression for name and value would take the square of a line's length."""
    kept = []
    for name, _, text in (line.partition(b":") for line in lines):
        value = text.strip(b" \t")
        if _KEPT.fullmatch(name) and _VALUE.fullmatch(value) and name.lower() not in _DROPPED:
            kept.append(name + b": " + value)
    return kept


def _not_a_batch() -> Refusal:
    return Refusal(400, "InvalidInput", "The batch is not understood; expected deletions and changes of tier only.")
