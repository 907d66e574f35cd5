"""`valetkey service-connector list-types` and `describe-type`: what connectors there can be, as the broker says."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from valetkey.cli.auth_methods import AuthMethod, option
from valetkey.cli.global_options import client_of
from valetkey.cli.option_choices import ConnectorType, ResourceType
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.connector_type_values import (
    AuthMethodDescription,
    ConnectorTypeDescription,
    FieldDescription,
    ResourceTypeDescription,
)
from valetkey.errors import NotFoundError


def list_types(context: typer.Context, output: Output = OutputFormat.TABLE) -> None:
    """List the types of connectors that the broker has."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        types = client.list_connector_types()
    if screen.as_json:
        screen.json([asdict(each) for each in types])
        return
    screen.table(
        ["NAME", "TYPE", "RESOURCE TYPES", "AUTH METHODS"],
        [
            [
                each.title,
                each.type,
                "\n".join(found.resource_type for found in each.resource_types),
                "\n".join(method.auth_method for method in each.auth_methods),
            ]
            for each in types
        ],
    )


def describe_type(
    context: typer.Context,
    *,
    connector_type: Annotated[
        ConnectorType, typer.Argument(metavar="TYPE", help="Kind of cloud.")
    ] = ConnectorType.AZURE,
    auth_method: Annotated[
        AuthMethod | None,
        typer.Option("--auth-method", "-a", metavar="METHOD", help="Only this auth method.", show_default=False),
    ] = None,
    resource_type: Annotated[
        ResourceType | None,
        typer.Option("--resource-type", "-r", help="Only this resource type.", show_default=False),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Describe a type of connectors: what its auth methods take, and what it gives access to."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        found = find_type(client.list_connector_types(), connector_type.value)
    methods = found.auth_methods
    if auth_method is not None:
        methods = (find_method(found, auth_method.value),)
    resources = [each for each in found.resource_types if resource_type in (None, each.resource_type)]
    # Either option asks for that part alone, both for both parts.
    if auth_method is not None and resource_type is None:
        resources = []
    if resource_type is not None and auth_method is None:
        methods = ()
    if screen.as_json:
        screen.json(
            {
                "type": found.type,
                "title": found.title,
                "help": found.help,
                "auth_methods": [asdict(method) for method in methods],
                "resource_types": [asdict(each) for each in resources],
                "fields": [asdict(field) for field in found.fields],
            }
        )
        return
    _show(screen, found, methods, resources)


def find_type(types: Sequence[ConnectorTypeDescription], wanted: str) -> ConnectorTypeDescription:
    """Returns one of the broker's types. Raises NotFoundError."""
    for each in types:
        if each.type == wanted:
            return each
    known = ", ".join(each.type for each in types)
    raise NotFoundError(f"this broker has no connectors of type {wanted}; expected one of {known}")


def find_method(described: ConnectorTypeDescription, wanted: str) -> AuthMethodDescription:
    """Returns one of a type's auth methods. Raises NotFoundError."""
    for method in described.auth_methods:
        if method.auth_method == wanted:
            return method
    known = ", ".join(method.auth_method for method in described.auth_methods)
    raise NotFoundError(f"this broker has no auth method {wanted}; expected one of {known}")


def _show(
    screen: Screen,
    described: ConnectorTypeDescription,
    methods: Sequence[AuthMethodDescription],
    resources: Sequence[ResourceTypeDescription],
) -> None:
    screen.heading(f"{described.title} service connector (type {described.type})")
    screen.text(described.help)
    for method in methods:
        screen.line("")
        screen.heading(f"{method.title} (auth method {method.auth_method})")
        screen.text(method.help)
        _show_fields(screen, method.fields)
    if methods:
        screen.line("")
        screen.heading("With every auth method: where to look")
        _show_fields(screen, described.fields)
    for each in resources:
        screen.line("")
        screen.heading(f"{each.title} (resource type {each.resource_type})")
        screen.text(each.help)
        screen.text(f"Resource ids: {', '.join(each.id_examples)}")


def _show_fields(screen: Screen, fields: Sequence[FieldDescription]) -> None:
    screen.table(
        ["OPTION", "", "WHAT IT IS", "EXAMPLE"],
        [
            [
                option(field.name),
                ("secret, " if field.secret else "") + ("required" if field.required else "optional"),
                field.help,
                field.example,
            ]
            for field in fields
        ],
    )
