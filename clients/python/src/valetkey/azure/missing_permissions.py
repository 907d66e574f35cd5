"""What a request needs whose permission is missing: put into the refusal, where people read it in the library's error.

Which operation needs what was found out by refusals (`make clients-table`), and is in docs/adapters.md.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from valetkey.values import Token

_MISSING = "AuthorizationPermissionMismatch"
_WRITE_OR_NEW = "write, or, for a blob that is not there yet, create"
_READING = {"list": "list", "blocklist": "read", "": "read", "metadata": "read"}
_WRITING = {
    "block": "write",
    "blocklist": "write",
    "appendblock": "write or add",
    "metadata": "write",
    "properties": "write",
    "tier": "write",
    "": _WRITE_OR_NEW,
}


def needed(method: str, url: str, *, copies: bool) -> str:
    """Returns the permissions that a request needs, in our words; empty where that is not known for certain."""
    query = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    comp = query.get("comp", "")
    if query.get("restype") == "container" and comp != "list":
        return ""
    if method in ("GET", "HEAD"):
        return _READING.get(comp, "")
    if method == "DELETE":
        return "delete" if not comp else ""
    # Of azure-storage-file-datalake's, only what has no action of its own.
    if method != "PUT" or "resource" in query or "action" in query:
        return ""
    return f"read for the source, and for the target {_WRITE_OR_NEW}" if copies else _WRITING.get(comp, "")


def explain(response: Any, request: Any, token: Token) -> None:
    """Adds to a refusal for want of a permission which one that is, and what the token has; leaves others as is."""
    if response.status_code != 403 or response.headers.get("x-ms-error-code", "") != _MISSING:  # noqa: PLR2004 (HTTP)
        return
    what = needed(request.method, request.url, copies="x-ms-copy-source" in request.headers)
    if not what:
        return
    why = (
        f"It needs {what}; the token for {token.resource.resource_id} has {', '.join(token.permissions)}: ask for it "
        "where the token is asked for (permissions=… of a TokenSource, of valetkey.fsspec.filesystem, or in "
        "storage_options), and see that a grant allows it."
    )
    # Answers to HEAD have no body; there the libraries show the reason.
    response.reason = f"{str(response.reason).rstrip('.')}. {why}"
    said = response.text

    def text(encoding: str | None = None) -> str:
        return str(said(encoding)).replace("</Message>", f"\n{escape(why)}</Message>", 1)

    response.text = text
