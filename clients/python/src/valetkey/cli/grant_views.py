"""Grants and explanations as tables and as JSON."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from valetkey.cli.option_choices import TTL_LIMITS
from valetkey.cli.quoting import one_line, quoted
from valetkey.cli.screen import Screen, printable
from valetkey.durations import show_duration
from valetkey.identity_values import CallerIdentity
from valetkey.times import utc
from valetkey.values import AccessExplanation, Grant


def grant_json(grant: Grant) -> dict[str, Any]:
    """Returns a grant as a JSON object; what does not apply is null or empty."""
    return {
        "name": grant.name,
        "id": grant.uid,
        "principals": list(grant.principals),
        "attributes": dict(grant.attributes),
        "connectors": [{"name": connector.name, "id": connector.uid} for connector in grant.connectors],
        "containers": list(grant.containers),
        "prefixes": list(grant.prefixes),
        "permissions": list(grant.permissions),
        "role": grant.consumer_role,
        "max_ttl_seconds": grant.max_ttl.total_seconds() if grant.max_ttl is not None else None,
        "source_ip": grant.source_ip,
        "expire_time": utc(grant.expire_time) if grant.expire_time else None,
        "note": grant.note,
        "labels": dict(grant.labels),
        "version": grant.version,
        "create_time": utc(grant.create_time),
        "created_by": grant.created_by,
    }


def print_grant(screen: Screen, grant: Grant) -> None:
    """Prints one grant in full."""
    screen.properties(
        [
            ("name", grant.name),
            ("id", grant.uid),
            ("principals", "\n".join(grant.principals)),
            ("attributes", "\n".join(f"{key}={value}" for key, value in sorted(grant.attributes.items()))),
            ("connectors", "\n".join(f"{connector.name} ({connector.uid})" for connector in grant.connectors)),
            ("containers", "\n".join(grant.containers)),
            ("prefixes", "\n".join(grant.prefixes) or "<whole containers>"),
            ("permissions", _permissions(grant)),
            ("max ttl", show_duration(grant.max_ttl) if grant.max_ttl is not None else "<the broker's limit>"),
            ("source ip", grant.source_ip),
            ("expires", utc(grant.expire_time) if grant.expire_time else "never"),
            ("note", one_line(grant.note)),
            ("labels", "\n".join(f"{key}={value}" for key, value in sorted(grant.labels.items()))),
            ("version", str(grant.version)),
            ("created", utc(grant.create_time)),
            ("created by", grant.created_by),
        ]
    )


def print_grants(screen: Screen, grants: Iterable[Grant]) -> None:
    """Prints grants, one row each."""
    screen.table(
        ["NAME", "PRINCIPALS", "CONNECTORS", "CONTAINERS", "PREFIXES", "PERMISSIONS", "EXPIRES"],
        [
            [
                grant.name,
                "\n".join([*grant.principals, *(f"{key}={value}" for key, value in sorted(grant.attributes.items()))]),
                "\n".join(connector.name for connector in grant.connectors),
                "\n".join(grant.containers),
                "\n".join(grant.prefixes) or "<whole containers>",
                _permissions(grant),
                utc(grant.expire_time) if grant.expire_time else "never",
            ]
            for grant in grants
        ],
    )


def explanation_json(found: AccessExplanation) -> dict[str, Any]:
    """Returns an explanation as a JSON object."""
    return {
        "allowed": found.allowed,
        "grant": found.grant,
        "findings": [
            {"grant": finding.grant, "allows": finding.allows, "reasons": list(finding.reasons)}
            for finding in found.findings
        ],
        "nearest": found.nearest,
        "ttl_seconds": found.ttl.total_seconds() if found.ttl is not None else None,
        "ttl_limited_by": found.ttl_limited_by,
        "source_ip": found.source_ip,
        "error": found.error_message,
        "scope": found.scope,
        "caller_problem": found.caller_problem,
    }


def print_explanation(screen: Screen, found: AccessExplanation) -> None:
    """Prints what each grant has to say, then the answer."""
    if found.findings:
        screen.table(
            ["GRANT", "ALLOWS", "WHY NOT"],
            [
                [
                    finding.grant,
                    Text("yes", style="green") if finding.allows else Text("no", style="red"),
                    Text(printable("\n".join(finding.reasons))),
                ]
                for finding in found.findings
            ],
        )
    if found.allowed:
        life = f", for {show_duration(found.ttl)}" if found.ttl is not None else ""
        why = f" ({TTL_LIMITS.get(found.ttl_limited_by, found.ttl_limited_by)})" if found.ttl_limited_by else ""
        addresses = f", from {found.source_ip} only" if found.source_ip else ""
        screen.line(f"Allowed by grant `{found.grant}`{life}{why}{addresses}.")
        if found.scope:
            screen.line(f"For {found.scope}.")
        if found.caller_problem:
            screen.line(f"But nobody can ask for it now: {found.caller_problem}.")
        return
    if found.error_message:
        screen.line(f"Not allowed: {found.error_message}.")
    else:
        screen.line("Not allowed." if found.findings else "Not allowed: no grant was found.")
    if found.nearest:
        screen.line(f"Nearest: {found.nearest}")
    if found.caller_problem:
        screen.line(f"Besides, {found.caller_problem}.")


def next_step(
    caller: CallerIdentity, *, principal: str | None, resource: str, permissions: Sequence[str], connector: str | None
) -> str:
    """Returns what to do where no grant allows a request: for an admin the command, for others whom to ask for what."""
    who = principal or caller.principal
    if "admin" not in caller.roles:
        return (
            f"to get access, ask an admin of the broker for a grant: principal {quoted(who)}, "
            f"resource {quoted(resource)}, permissions {', '.join(permissions)}"
        )
    container, path = _container_and_path(resource)
    words = ["valetkey", "grant", "create", "NAME", "--principal", who, "--connector", connector or "CONNECTOR"]
    words += ["--container", container, *(["--prefix", path] if path else []), "--permissions", ",".join(permissions)]
    return f"this would allow it: {shlex.join(words)}"


def _container_and_path(resource: str) -> tuple[str, str]:
    scheme, _, rest = resource.rpartition("://")
    if scheme not in ("", "az"):
        return "CONTAINER", ""  # A URL, whose parts the broker knows.
    container, _, path = rest.partition("/")
    return container, path.rstrip("/")


def _permissions(grant: Grant) -> str:
    words = ", ".join(grant.permissions)
    return f"{words} ({grant.consumer_role})" if grant.consumer_role else words
