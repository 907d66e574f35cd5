"""What the API's fields are called on pages: forms, errors and lists take their labels from here, and nowhere else."""

import re
from collections.abc import Mapping

LABELS: Mapping[str, str] = {
    "account_key": "Account key",
    "api_key": "API key",
    "at_once": "The old account key",
    "attributes": "Attributes",
    "auth_method": "Auth method",
    "authentication_secret": "Named secret",
    "by": "Service principal to use",
    "client_certificate": "Client certificate",
    "client_certificate_password": "Certificate password",
    "client_id": "Client ID",
    "client_secret": "Client secret",
    "cloud": "Cloud",
    "confirm": "Name, to confirm",
    "connection_string": "Connection string",
    "connector": "Connector",
    "connectors": "Connectors",
    "consumer_role": "Role",
    "containers": "Containers",
    "description": "Description",
    "every": "Rotate every",
    "expire_time": "Expires",
    "expires_skew_tolerance": "Safety margin",
    "grant": "Grant",
    "hard": "Tokens already issued",
    "implicit_source": "Identity source",
    "labels": "Labels",
    "lease_id": "Lease",
    "max_ttl": "Maximum token lifetime",
    "name": "Name",
    "note": "Note",
    "overlap": "Keep the old key valid for",
    "permissions": "Permissions",
    "prefixes": "Path prefixes",
    "principal": "Principal",
    "principals": "Principals",
    "probe_write": "Write test",
    "prove_for": "Keep trying for",
    "reason": "Reason",
    "resource_group": "Resource group",
    "resource_id": "Resource",
    "resource_type": "Resource type",
    "roles": "Roles",
    "source_ip": "Source IP address",
    "storage_account": "Storage account",
    "subscription_id": "Subscription ID",
    "tenant_id": "Tenant ID",
    "through": "Connector that ends the keys",
    "ttl": "Token lifetime",
    "understood": "Confirmation",
}
# Fields of forms whose names are not the API's.
_API_NAMES = {
    "days": "expire_time",
    "expires": "expire_time",
    "hours": "overlap",
    "resource": "resource_id",
    "role": "consumer_role",
    "typed": "confirm",
}
# Names of the API within a sentence, but not in quotes: there stands what somebody typed.
_QUOTED = r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\""
_NAMED = re.compile(_QUOTED + r"|(?<![\w.-])(?:" + "|".join(name for name in LABELS if "_" in name) + r")(?![\w-])")


def api_name(field: str) -> str:
    """Returns the API's name of what a form's field gives: `client_secret` for `given.client_secret`."""
    name = field.rpartition(".")[2]
    return _API_NAMES.get(name, name)


def label(field: str) -> str:
    """Returns what people are told a field is, by its name in a form or in the API; a newer broker's, as it is."""
    name = api_name(field)
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def in_labels(text: str) -> str:
    """Returns a sentence of the broker's with the labels of fields in place of their names in the API."""
    return _NAMED.sub(lambda found: f"“{LABELS[found[0]]}”" if found[0] in LABELS else found[0], text)
