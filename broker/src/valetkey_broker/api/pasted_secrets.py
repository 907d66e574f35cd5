"""What of a name that was given may be kept for good: somebody may have pasted a secret in its place."""

from collections.abc import Callable
from dataclasses import fields

from valetkey_broker.model import AzureConfig, InvalidFieldError, check_name, check_secret_name
from valetkey_broker.model.descriptive_field_rules import check_label_key
from valetkey_broker.observability.redaction import scrub

_LABEL = "labels."
_FIELDS = frozenset(each.name for each in fields(AzureConfig)) | {
    "resource_type",
    "resource_id",
    "description",
    "labels",
    "expire_time",
    "expires_skew_tolerance",
}


def recordable_name(text: str) -> str:
    """Returns the name of a connector, grant, key or revocation; of what cannot be one, its length."""
    return _told(text, check_name)


def recordable_secret_name(text: str) -> str:
    """Returns the name of a secret; of what cannot be one, its length."""
    return _told(text, check_secret_name)


def recordable_field(text: str) -> str:
    """Returns the name of a field that is taken away, or of a label; of what is neither, the length."""
    if text.startswith(_LABEL):
        return _LABEL + _told(text.removeprefix(_LABEL), lambda _, key: check_label_key(key))
    return text if text in _FIELDS else _length(text)


def _told(text: str, check: Callable[[str, str], str]) -> str:
    if not text:
        return text
    try:
        return scrub(check("name", text))  # There are secrets that could be names.
    except InvalidFieldError:
        return _length(text)


def _length(text: str) -> str:
    return f"{len(text)} characters"
