"""Who may come in, and with what: everything that is checked before a request is sent on."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from multidict import CIMultiDict, CIMultiDictProxy

from valetkey.proxy.refusals import Refusal
from valetkey.proxy.served_container import Query, ServedContainer, visible

_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"))
# Headers of one connection. Source: RFC 9110, section 7.6.1. `Expect` is answered here.
_OF_THE_CONNECTION = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "host")
)
# What would speak for another caller, or has a second SAS, or a bearer token, in it.
_DROPPED = frozenset(
    (
        *("authorization", "proxy-authorization", "x-ms-copy-source-authorization", "cookie"),
        *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    )
)
_COPY_SOURCE, _RENAME_SOURCE = "x-ms-copy-source", "x-ms-rename-source"


@dataclass(frozen=True, slots=True)
class LocalKey:
    """The one secret that a tool shows to this proxy: it means nothing to storage, and ends with the process."""

    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    def opens(self, given: tuple[str, ...]) -> bool:
        """Tells whether a request shows it; once is enough, and beside it there may be no other."""
        fits = [secrets.compare_digest(each.encode(errors="replace"), self.secret.encode()) for each in given]
        return bool(fits) and all(fits)

    def sas(self, permissions: str, version: str) -> str:
        """Returns it as a SAS token, such as tools take; its dates keep them from thinking that it ends."""
        dates = "st=2020-01-01T00%3A00%3A00Z&se=2099-01-01T00%3A00%3A00Z"
        return f"sv={version}&{dates}&sr=c&sp={permissions}&sig={self.secret}"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be sent on, without a token yet."""

    place: ServedContainer
    rest: str
    query: Query
    headers: "CIMultiDict[str]"
    local: frozenset[str]
    _sources: tuple[tuple[str, str], ...]

    @property
    def is_batch(self) -> bool:
        """Whether its body is made of further requests."""
        return self.query.value("comp") == "batch"

    @property
    def answers_of_storage(self) -> bool:
        """Whether the answer's body is what storage itself has to say, and no blob."""
        return bool(self.query.value("comp") or self.query.value("restype")) and self.query.value("comp") != "query"

    def url(self, sas: str) -> str:
        """Returns where it goes, signed."""
        return self.place.url(self.rest, self.query, sas)

    def signed_headers(self, sas: str) -> "CIMultiDict[str]":
        """Returns the headers that go along, with the sources of copies signed."""
        headers = self.headers.copy()
        for name, value in self._sources:
            headers[name] = _signed(self.place, name, value, self.local, sas)
        return headers


def admit(
    method: str,
    target: str,
    headers: "CIMultiDictProxy[str] | CIMultiDict[str]",
    *,
    place: ServedContainer,
    key: LocalKey,
    local: frozenset[str],
) -> Admitted:
    """Returns what may be sent on. Raises Refusal for everything else: first for who does not show the secret."""
    hosts = headers.getall("Host", [])
    if len(hosts) != 1 or hosts[0].lower() not in local:
        # A web page that had its own name point to this machine would come with that name.
        raise Refusal(421, "InvalidHost", "This proxy answers to its own address only.")
    if not target.startswith("/") or not visible(target):
        raise Refusal(400, "InvalidUri", "The request's target is not a path; expected one, escaped.")
    path, _, text = target.partition("?")
    query = Query.parse(text)
    if not key.opens(query.signatures):
        raise Refusal(
            403,
            "AuthenticationFailed",
            "The request does not show the SAS token of this proxy; expected the one that it printed as it started.",
        )
    if method not in _METHODS:
        raise Refusal(405, "UnsupportedHttpVerb", "Storage has no such method.")
    if ",".join(headers.getall("Transfer-Encoding", [])).strip().lower() not in ("", "chunked"):
        # What is packed on its way only would be stored packed.
        raise Refusal(501, "InvalidHeaderValue", "Transfer-Encoding is something else than chunked.")
    rest = place.rest_of(path)
    kept = _end_to_end(headers)
    sources = []
    for name in (_COPY_SOURCE, _RENAME_SOURCE):
        values = kept.popall(name, [])
        if len(values) > 1:
            raise Refusal(400, "InvalidHeaderValue", f"There is more than one {name}; expected one.")
        if values:
            _signed(place, name, values[0], local, "")  # Refused now, before a token or a body is touched.
            sources.append((name, values[0]))
    return Admitted(place, rest, query, kept, local, tuple(sources))


def _signed(place: ServedContainer, name: str, value: str, local: frozenset[str], sas: str) -> str:
    if name == _COPY_SOURCE:
        return place.signed_source(value, local, sas)
    return place.signed_rename(value, sas)


def _end_to_end(headers: Mapping[str, str]) -> "CIMultiDict[str]":
    kept = CIMultiDict(headers)
    named = {name.strip().lower() for value in kept.getall("Connection", []) for name in value.split(",")}
    for name in _OF_THE_CONNECTION | _DROPPED | named:
        kept.popall(name, None)
    for value in kept.values():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refusal(400, "InvalidHeaderValue", "A header is not text; expected UTF-8.") from None
    return kept
