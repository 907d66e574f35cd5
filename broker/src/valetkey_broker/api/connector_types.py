"""The types of connectors as messages."""

from collections.abc import Sequence

from valetkey.v1 import connector_service_pb2 as pb
from valetkey_broker.api.convert import AUTH_METHODS, CONNECTOR_TYPES, RESOURCE_TYPES
from valetkey_broker.connectors.connector_types import ConnectorTypeDescription
from valetkey_broker.model import CredentialField
from valetkey_broker.ports import AuthMethod


def connector_type_messages(types: Sequence[ConnectorTypeDescription]) -> list[pb.ConnectorTypeDescription]:
    """Returns the types as messages; there is nothing of any connector in them."""
    return [
        pb.ConnectorTypeDescription(
            type=CONNECTOR_TYPES.to_proto[each.type],
            title=each.title,
            help=each.help,
            auth_methods=[_auth_method(method) for method in each.auth_methods],
            resource_types=[
                pb.ResourceTypeDescription(
                    resource_type=RESOURCE_TYPES.to_proto[about.name],
                    title=about.title,
                    help=about.help,
                    id_examples=about.id_examples,
                )
                for about in each.resource_types
            ],
            fields=[_field(field) for field in each.fields],
        )
        for each in types
    ]


def _auth_method(method: AuthMethod) -> pb.AuthMethodDescription:
    return pb.AuthMethodDescription(
        auth_method=AUTH_METHODS.to_proto[method.name],
        title=method.title,
        help=method.help,
        fields=[_field(field) for field in method.fields],
    )


def _field(field: CredentialField) -> pb.FieldDescription:
    return pb.FieldDescription(
        name=field.name,
        secret=field.secret,
        required=field.required,
        help=field.help,
        example=field.example,
        choices=field.choices,
    )
