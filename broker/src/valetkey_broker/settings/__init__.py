"""The broker's settings: one file per section, read from TOML and the environment before anything starts."""

from valetkey_broker.settings.authn import AuthnSettings, MtlsSettings, OidcSettings, RoleBinding
from valetkey_broker.settings.certificate_check import check_certificate, check_key_kind
from valetkey_broker.settings.clouds import CloudSettings
from valetkey_broker.settings.issuing import IssuingSettings
from valetkey_broker.settings.ledger import LedgerSettings
from valetkey_broker.settings.limits import LimitsSettings
from valetkey_broker.settings.loading import check_files, load_settings, make_settings, read_values
from valetkey_broker.settings.logging import LoggingSettings
from valetkey_broker.settings.metrics import MetricsSettings
from valetkey_broker.settings.root import ENV_PREFIX, Settings
from valetkey_broker.settings.server import ServerSettings
from valetkey_broker.settings.vault import VaultSettings

__all__ = [
    "ENV_PREFIX",
    "AuthnSettings",
    "CloudSettings",
    "IssuingSettings",
    "LedgerSettings",
    "LimitsSettings",
    "LoggingSettings",
    "MetricsSettings",
    "MtlsSettings",
    "OidcSettings",
    "RoleBinding",
    "ServerSettings",
    "Settings",
    "VaultSettings",
    "check_certificate",
    "check_files",
    "check_key_kind",
    "load_settings",
    "make_settings",
    "read_values",
]
