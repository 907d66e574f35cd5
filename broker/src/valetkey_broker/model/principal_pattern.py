"""Patterns of principals: who vouches for them is named in full, and some that mean more people than they seem to."""

import re
from collections.abc import Mapping

from valetkey_broker.model.errors import InvalidFieldError, shown
from valetkey_broker.model.names import check_name
from valetkey_broker.model.pattern import Pattern
from valetkey_broker.model.spiffe import parse_spiffe_id

_LONGEST = 2048
_EXPECTED = "key:NAME, oidc:ISSUER#SUBJECT or spiffe://TRUST-DOMAIN/PATH"
_PRINCIPAL = re.compile(
    r"key:(?P<key>[^:/# ]+)|(?P<issuer>oidc:[^# ]+)#(?! )(?P<subject>.+)|(?P<domain>spiffe://[^/ ]+)/(?P<path>[^ ]+)",
    re.DOTALL,
)
# Issuers that vouch for whoever opens an account there, and the words before the owner in their subjects. A pattern
# that does not name the owner in full is met by strangers, who name repositories, branches and environments freely.
# https://docs.github.com/actions/reference/openid-connect-reference
# https://docs.gitlab.com/ci/secrets/id_token_authentication
# https://developer.hashicorp.com/terraform/cloud-docs/workspaces/dynamic-provider-credentials/workload-identity-tokens
# https://buildkite.com/docs/agent/v3/cli-oidc
_OPEN_TO_ALL: Mapping[str, frozenset[str]] = {
    "oidc:https://token.actions.githubusercontent.com": frozenset(
        {"repo", "repository", "repository_owner", "repository_id", "repository_owner_id", "job_workflow_ref"}
    ),
    "oidc:https://gitlab.com": frozenset({"project_path"}),
    "oidc:https://app.terraform.io": frozenset({"organization"}),
    "oidc:https://agent.buildkite.com": frozenset({"organization"}),
}
_OWNER = re.compile(r"(?P<word>[a-z_]+):(?P<owner>[^*/:#@]+)(?:[/:@].*)?", re.DOTALL)


def principal_pattern(text: str, field: str) -> Pattern:
    """Returns the pattern of principals that `text` is.

    Raises InvalidFieldError for what is no principal, and where `*` leaves open who vouches for it: that would believe
    everybody's word.
    """
    pattern = Pattern(text, field)
    match = _PRINCIPAL.fullmatch(text)
    if match is None:
        raise InvalidFieldError(field, f"{shown(text)} is not a principal", _EXPECTED)
    if "*" in (match["issuer"] or match["domain"] or ""):
        raise InvalidFieldError(
            field, f"{shown(text)} leaves open who vouches for it", f"{_EXPECTED}, with * in SUBJECT or PATH only"
        )
    return pattern


def check_principal(field: str, name: str) -> str:
    """Returns `name` if a caller could have it. Raises InvalidFieldError."""
    match = _PRINCIPAL.fullmatch(name)
    if match is None or len(name) > _LONGEST or "*" in name:
        raise InvalidFieldError(field, f"{shown(name)} is not a principal", _EXPECTED)
    if match["key"]:
        check_name(field, match["key"])
    elif match["domain"]:
        parse_spiffe_id(name, field)
    elif not name.isascii() or not name.isprintable():
        raise InvalidFieldError(field, f"{shown(name)} is not a principal", f"{_EXPECTED} of printable ASCII")
    return name


def voucher(principal: str) -> str:
    """Returns `oidc:ISSUER` or `spiffe://TRUST-DOMAIN` of a principal or a pattern of them; empty for an API key."""
    match = _PRINCIPAL.fullmatch(principal)
    return (match["issuer"] or match["domain"] or "") if match is not None else ""


def too_many(pattern: Pattern) -> str:
    """Returns, in words, whom a pattern of principals means where that is people nobody can know; empty otherwise."""
    match = _PRINCIPAL.fullmatch(pattern.text)
    if match is None:
        return ""
    issuer, subject = match["issuer"], match["subject"]
    if issuer in _OPEN_TO_ALL:
        owner = _OWNER.fullmatch(subject)
        if owner is None or owner["word"] not in _OPEN_TO_ALL[issuer]:
            return f"people who are strangers to you: anybody gets such subjects from {issuer.removeprefix('oidc:')}"
    if re.search(r"[A-Za-z0-9]", match["key"] or subject or match["path"]) is None:
        return f"all that {match['issuer'] or match['domain']} vouches for" if not match["key"] else "all API keys"
    return ""
