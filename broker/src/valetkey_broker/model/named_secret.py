"""Named secrets: credentials that stand by themselves, for any number of connectors to use."""

from dataclasses import dataclass, fields, replace
from datetime import datetime

from valetkey_broker.model.connector import AzureConfig, Connector, ConnectorType, PreviousWay, RotationSchedule


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """What may be told of a named secret: all but its value.

    Connectors refer to it by `uid`, which a rename keeps and a later secret of the same name does not have. `azure`
    holds what belongs to the credential, such as tenant and client; `secret_fields` names the secrets that were given.
    `credential_version` is the KV version of the value in use; `updated_at` and `updated_by` are that version's.
    `previous_credential_version` is that of the value before, which is kept until the next one; 0 without one.
    `expires_at` is when the value ends, as the operator said, or earlier where it says so itself.
    `rotation` is the id of the rotation that gave the value in use, if one did; `previous` says how the one before
    logs in. `taken_from` is the version that a rollback took the value from, 0 without one. `rotation_schedule` says
    how often it is rotated by itself, if it is.
    """

    name: str
    uid: str
    type: ConnectorType
    auth_method: str
    azure: AzureConfig
    secret_fields: tuple[str, ...]
    credential_version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    previous_credential_version: int = 0
    expires_at: datetime | None = None
    rotation: str = ""
    previous: PreviousWay | None = None
    rotation_schedule: RotationSchedule | None = None
    taken_from: int = 0

    @property
    def object_path(self) -> str:
        """How the ledger, rotations and documents of it in Vault name it."""
        return f"secrets/{self.name}"

    def used_by(self, connector: Connector) -> Connector:
        """Returns a connector as it works with this secret; what it says itself narrows what the secret says."""
        own = connector.own_azure or connector.azure
        given = {each.name: value for each in fields(own) if (value := getattr(own, each.name))}
        return replace(
            connector,
            auth_method=self.auth_method,
            azure=replace(self.azure, **given),
            credential_version=self.credential_version,
            secret_uid=self.uid,
            secret=self.name,
            own_azure=own,
        )
