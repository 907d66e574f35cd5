"""What stands in an output: a form that `-o` has as well, JSON, or a template of the user's."""

import json
import string

from valetkey.cli.token_texts import token_access, token_json, token_text
from valetkey.cli.tool_access import FORMS, ToolAccess
from valetkey.times import utc
from valetkey.values import Token

WORDS = ("sas", "url", "json", *FORMS)
# What a template may name; `expires` is of a token, and what a proxy takes has no end.
_OF_ACCESS = (
    *("account", "container", "path", "endpoint", "url", "sas_token", "sas_url", "container_url"),
    *("connection_string", "permissions"),
)
_OF_TOKEN = ("expires", "expires_epoch")


def content(form: str, template: str | None, token: Token, through: ToolAccess | None) -> str:
    """Returns what to write: for the token itself, or for the proxy that a tool gets `through`."""
    access = through or token_access(token)
    if template is not None:
        return string.Template(template).substitute(_values(access, None if through else token))
    match form:
        case "json":
            value = token_json(token) if through is None else through.as_json()
            return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        case "sas" | "url" if through is not None:
            return (through.sas if form == "sas" else through.url) + "\n"
        case _ if through is not None:
            return "\n".join(FORMS[form](through)) + "\n"
        case _:
            return token_text(token, form) + "\n"


def problem_of(template: str, *, through_proxy: bool) -> str:
    """Returns what is wrong with a template, and on which of its lines; empty where nothing is."""
    known = (*_OF_ACCESS, *(() if through_proxy else _OF_TOKEN))
    for match in string.Template.pattern.finditer(template):
        name = match.group("named") or match.group("braced")
        line = template.count("\n", 0, match.start()) + 1
        if match.group("invalid") is not None:
            return f"line {line}: a $ stands alone; expected $$ for itself, or one of {', '.join(known)} behind it"
        if name is not None and name not in known:
            return f"line {line}: ${name} is unknown; expected {', '.join(known)}, or $$ for a $ itself"
    return ""


def _values(access: ToolAccess, token: Token | None) -> dict[str, str]:
    found = {
        "account": access.account,
        "container": access.container,
        "path": access.path,
        "endpoint": access.endpoint,
        "url": access.url.partition("?")[0],
        "sas_token": access.sas,
        "sas_url": access.url,
        "container_url": access.container_url,
        "connection_string": access.connection_string,
        "permissions": ",".join(access.permissions),
    }
    if token is not None:
        found["expires"] = utc(token.expire_time)
        found["expires_epoch"] = str(int(token.expire_time.timestamp()))
    return found
