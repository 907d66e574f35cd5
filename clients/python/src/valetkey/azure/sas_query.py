"""SAS parameters in URLs: taken out and put in, all else left as it is written."""

from urllib.parse import urlsplit

# All that a service, account or user delegation SAS can hold. No API of storage has a parameter of the same name.
# Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
_SAS = frozenset(
    {
        "sv",
        "st",
        "se",
        "sp",
        "spr",
        "sip",
        "sig",
        "sr",
        "si",
        "sdd",
        "ses",
        "ss",
        "srt",
        "rscc",
        "rscd",
        "rsce",
        "rscl",
        "rsct",
        "skoid",
        "sktid",
        "skt",
        "ske",
        "sks",
        "skv",
        "saoid",
        "suoid",
        "scid",
        "sduoid",
        "skdutid",
        "srh",
        "srq",
    }
)


def without_sas(url: str) -> str:
    """Returns a URL without any SAS in it."""
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0].lower() not in _SAS]
    return f"{base}?{'&'.join(kept)}" if kept else base


def with_sas(url: str, sas: str) -> str:
    """Returns a URL with exactly one SAS in it, this one."""
    bare = without_sas(url)
    return f"{bare}{'&' if '?' in bare else '?'}{sas}"


def same_host(url: str, own: str) -> bool:
    """Tells whether a URL leads to the storage account of another one: its blobs, its files, or their second copy."""
    theirs, ours = urlsplit(url), urlsplit(own)
    if (theirs.scheme, theirs.port) != (ours.scheme, ours.port):
        return False
    return _account(theirs.hostname or "") == _account(ours.hostname or "")


def within(url: str, own: str) -> bool:
    """Tells whether a URL is, or is below, what a token is for."""
    if not same_host(url, own):
        return False
    path, root = urlsplit(url).path.rstrip("/"), urlsplit(own).path.rstrip("/")
    return path == root or path.startswith(f"{root}/")


def _account(host: str) -> str:
    """Returns a host without what differs between the services and copies of one account."""
    first, dot, rest = host.lower().partition(".")
    service, second, suffix = rest.partition(".")
    if service in ("blob", "dfs") and second:
        rest = suffix
    return f"{first.removesuffix('-secondary')}{dot}{rest}"
