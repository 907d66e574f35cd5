"""A token in each form that `-o` has for one, and that `valetkey agent` writes into files."""

from typing import Any

from valetkey.cli.tool_access import FORMS, ToolAccess
from valetkey.times import utc
from valetkey.token_values import Token


def token_json(token: Token) -> dict[str, Any]:
    """Returns all of a token as JSON knows it."""
    return {
        "lease_id": token.lease_id,
        "sas_token": token.sas_token,
        "sas_url": token.sas_url,
        "resource_id": token.resource.resource_id,
        "account": token.resource.account,
        "url": token.resource.url,
        "permissions": list(token.permissions),
        "start_time": utc(token.start_time),
        "expire_time": utc(token.expire_time),
        "connector": token.connector,
        "credential_version": token.credential_version,
        "grant": token.grant,
        "ttl_limited_by": token.ttl_limited_by,
    }


def token_access(token: Token) -> ToolAccess:
    """Returns how tools reach storage with it."""
    resource = token.resource
    return ToolAccess.of(resource.url, resource.account, resource.resource_id, token.sas_token, token.permissions)


def token_text(token: Token, form: str) -> str:
    """Returns a token in one of FORMS, or as `url` or `sas`: lines, without a break at their end."""
    match form:
        case "url":
            return token.sas_url
        case "sas":
            return token.sas_token
        case "env":
            expires = f"export VALETKEY_TOKEN_EXPIRES={utc(token.expire_time)}"
            return "\n".join((*token_access(token).env(), expires))
        case _:
            return "\n".join(FORMS[form](token_access(token)))
