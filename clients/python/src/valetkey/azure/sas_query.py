"""SAS parameters in URLs: taken out and put in, all else left as it is written."""

from urllib.parse import urlsplit

from valetkey.sas_parameters import SAS_PARAMETERS


def without_sas(url: str) -> str:
    """Returns a URL without any SAS in it."""
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0].lower() not in SAS_PARAMETERS]
    return f"{base}?{'&'.join(kept)}" if kept else base


def with_sas(url: str, sas: str) -> str:
    """Returns a URL with exactly one SAS in it, this one."""
    bare = without_sas(url)
    return f"{bare}{'&' if '?' in bare else '?'}{sas}"


def same_account(url: str, token_url: str) -> bool:
    """Tells whether two URLs have the same storage account, whichever service or copy of it they name."""
    theirs, ours = urlsplit(url), urlsplit(token_url)
    if (theirs.scheme, theirs.port) != (ours.scheme, ours.port):
        return False
    return _account(theirs.hostname or "") == _account(ours.hostname or "")


def within(url: str, token_url: str) -> bool:
    """Tells whether a URL is, or is below, what a token is for."""
    if not same_account(url, token_url):
        return False
    path, root = urlsplit(url).path.rstrip("/"), urlsplit(token_url).path.rstrip("/")
    return path == root or path.startswith(f"{root}/")


def _account(host: str) -> str:
    """Returns a host without what differs between the services and copies of one account."""
    first, dot, rest = host.lower().partition(".")
    service, second, suffix = rest.partition(".")
    if service in ("blob", "dfs") and second:
        rest = suffix
    return f"{first.removesuffix('-secondary')}{dot}{rest}"
