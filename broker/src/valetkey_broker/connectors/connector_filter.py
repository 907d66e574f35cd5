"""A filter for lists of connectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from valetkey_broker.model import Connector, ConnectorType


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorFilter:
    """Which connectors are to be listed; what is None or empty narrows nothing down.

    A multi-type connector is one for each of its resource types. Of `labels` all must be there; one with an empty value
    may have any.
    """

    type: ConnectorType | None = None
    auth_method: str = ""
    resource_type: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def matches(self, connector: Connector) -> bool:
        """Tells whether a connector is among them."""
        labels = dict(connector.labels)
        return (
            self.type in (None, connector.type)
            and self.auth_method in ("", connector.auth_method)
            and (self.resource_type is None or self.resource_type in connector.resource_types)
            and all(key in labels and value in ("", labels[key]) for key, value in self.labels.items())
        )
