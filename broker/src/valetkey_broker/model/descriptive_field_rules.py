"""What people note down about a connector, and the rules for it: a description, labels, the end of its credential."""

import re
from collections.abc import Mapping
from datetime import datetime

from valetkey_broker.model.errors import InvalidFieldError, shown

MOST_LABELS = 32
MOST_DESCRIPTION = 500
MOST_SKEW_SECONDS = 365 * 24 * 3600
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DNS = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
_KEY = re.compile(rf"(?:(?P<prefix>{_DNS})/)?{_WORD}")
_VALUE = re.compile(rf"(?:{_WORD})?")
_MOST_PREFIX = 253


def check_labels(labels: Mapping[str, str], field: str = "labels") -> tuple[tuple[str, str], ...]:
    """Returns labels by name, if each can be one, as Kubernetes has them, and there are not too many."""
    if len(labels) > MOST_LABELS:
        raise InvalidFieldError(field, f"{len(labels)} given", f"at most {MOST_LABELS}")
    for key, value in labels.items():
        check_label_key(key, field)
        if not _VALUE.fullmatch(value):
            raise InvalidFieldError(
                field,
                f"{shown(value)} cannot be the value of {key}",
                "up to 63 letters, digits and inner -_. or nothing",
            )
    return tuple(sorted(labels.items()))


def check_label_key(key: str, field: str = "labels") -> str:
    """Returns `key` if a label can be called so: `team`, or `example.com/team`."""
    match = _KEY.fullmatch(key)
    if match is None or len(match["prefix"] or "") > _MOST_PREFIX:
        raise InvalidFieldError(
            field,
            f"{shown(key)} is not the name of a label",
            "1 to 63 letters, digits and inner -_. such as team, with a domain in front if need be: example.com/team",
        )
    return key


def check_description(text: str, field: str = "description") -> str:
    """Returns `text` if it can describe something: at most 500 printable characters."""
    if len(text) > MOST_DESCRIPTION or not text.isprintable():
        raise InvalidFieldError(
            field,
            "is too long, or holds line breaks or other unprintable characters",
            f"at most {MOST_DESCRIPTION} printable characters",
        )
    return text


def check_future(when: datetime | None, now: datetime, field: str = "expire_time") -> datetime | None:
    """Returns `when` if it is still to come, or not given."""
    if when is not None and when <= now:
        raise InvalidFieldError(field, f"{when.isoformat(timespec='seconds')} is in the past", "a time in the future")
    return when


def check_skew(seconds: int | None, field: str = "expires_skew_tolerance") -> int | None:
    """Returns how much earlier something counts as ended, if that can be meant: up to a year, in seconds."""
    if seconds is not None and not 0 <= seconds <= MOST_SKEW_SECONDS:
        raise InvalidFieldError(field, f"is {seconds} s", f"0 to {MOST_SKEW_SECONDS} s (365 days)")
    return seconds
