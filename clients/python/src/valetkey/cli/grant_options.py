"""The options that `grant create` and `grant update` share, and what they say."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from valetkey.cli.connector_options import parse_labels
from valetkey.cli.option_choices import ConsumerRole
from valetkey.cli.permission_and_attribute_parsing import PERMISSIONS, parse_attributes, parse_permissions
from valetkey.durations import parse_duration
from valetkey.errors import InvalidArgumentError
from valetkey.times import parse_moment
from valetkey.values import GrantedConnector


def _option(help_text: str, **more: Any) -> Any:
    return typer.Option(help=help_text, show_default=False, **more)


_principals = _option(
    "Who: key:NAME, oidc:ISSUER#SUBJECT or spiffe://…; * stands for part of a segment. May be repeated."
)
_connectors = _option(
    "Connector, the one that has this name now; NAME=ID says which one is meant. May be repeated.",
    metavar="NAME",
)
_containers = _option("Container, or a pattern such as ml-*; may be repeated.")

# A new grant needs them, a changed one may keep them.
Principals = Annotated[list[str], _principals]
Connectors = Annotated[list[str], _connectors]
Containers = Annotated[list[str], _containers]
SomePrincipals = Annotated[list[str] | None, _principals]
SomeConnectors = Annotated[list[str] | None, _connectors]
SomeContainers = Annotated[list[str] | None, _containers]
Prefixes = Annotated[list[str] | None, _option("Path inside the containers; all of them if left out. May be repeated.")]
Permissions = Annotated[
    list[str] | None, _option(f"Comma-separated, or repeated: {', '.join(PERMISSIONS)}.", metavar="LIST")
]
Role = Annotated[
    ConsumerRole | None,
    _option(
        "Ready-made permissions. deployer: read (load artifacts), list (find them in directories). orchestrator and "
        "step-operator: also write (uploads go in blocks, which take it; overwrites, too), create and add (for tools "
        "that ask for them; not enough by themselves). …-with-delete: also delete (clean up after failed steps)."
    ),
]
Attributes = Annotated[
    list[str] | None,
    _option("Attribute the principal must have, such as namespace=ml-*; may be repeated.", metavar="KEY=PATTERN"),
]
MaxTtl = Annotated[str | None, _option("Longest life of a token, such as 1h; the broker's limit if left out.")]
SourceIp = Annotated[str | None, _option("IPv4 address or range A-B that every token is bound to.")]
Expires = Annotated[str | None, _option("When the grant ends: 90d, or 2026-12-31T00:00:00Z; never if left out.")]
Note = Annotated[str | None, _option("For people; at most 500 characters.")]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", "-l", metavar="KEY=VALUE", help="Label, such as team=ml; may be repeated.", show_default=False
    ),
]


def changes_of(
    *,
    principal: Sequence[str] | None,
    connector: Sequence[str] | None,
    container: Sequence[str] | None,
    prefix: Sequence[str] | None,
    permissions: Sequence[str] | None,
    role: ConsumerRole | None,
    attribute: Sequence[str] | None,
    max_ttl: str | None,
    source_ip: str | None,
    expires: str | None,
    note: str | None,
    label: Sequence[str] | None,
) -> dict[str, Any]:
    """Returns the fields of a GrantSpec that were given; None stands for not given, an empty text for "none".

    Raises InvalidArgumentError where one cannot be understood, or where permissions and a role are given both.
    """
    lists = {"principals": principal, "containers": container}
    changes: dict[str, Any] = {field: tuple(given) for field, given in lists.items() if given}
    if connector:
        changes["connectors"] = tuple(_connector(text) for text in connector)
    texts = {"source_ip": source_ip, "note": note}
    changes |= {field: text for field, text in texts.items() if text is not None}
    if prefix:
        changes["prefixes"] = tuple(path for path in prefix if path)
    if attribute:
        changes["attributes"] = parse_attributes(pair for pair in attribute if pair)
    if label:
        changes["labels"] = parse_labels(pair for pair in label if pair)
    if max_ttl is not None:
        changes["max_ttl"] = None if max_ttl == "none" else parse_duration(max_ttl, "--max-ttl")
    if expires is not None:
        changes["expire_time"] = None if expires == "never" else parse_moment(expires, "--expires", ago=False)
    return changes | _permissions_of(permissions, role)


def _connector(text: str) -> GrantedConnector:
    name, _, uid = text.partition("=")
    return GrantedConnector(name, uid)


def _permissions_of(permissions: Sequence[str] | None, role: ConsumerRole | None) -> dict[str, Any]:
    if permissions and role is not None:
        raise InvalidArgumentError("--permissions and --role are both given; expected one of them")
    if permissions:
        return {"permissions": tuple(parse_permissions(permissions)), "consumer_role": ""}
    if role is not None:
        return {"permissions": (), "consumer_role": role.value}
    return {}
