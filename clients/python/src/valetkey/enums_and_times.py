"""Enums, durations and moments of `valetkey.v1` as words, timedeltas and datetimes, and back.

All that a call for a token needs of this: the messages of other services load with `valetkey.convert`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.errors import InvalidArgumentError
from valetkey.v1 import common_pb2 as common_pb

# Each enum with the prefix of its values: `PERMISSION_READ` is `read` for people.
PERMISSION = (common_pb.Permission, "PERMISSION_")
ROLE = (common_pb.Role, "ROLE_")
RESOURCE_TYPE = (common_pb.ResourceType, "RESOURCE_TYPE_")
TTL_LIMIT = (common_pb.TtlLimit, "TTL_LIMIT_")

# ZenML has them; no connector can live on them. What is said of each wherever somebody writes its name.
NEVER_AUTH_METHODS = {
    "access-token": "an access token ends within the hour, and gives no key to sign tokens with for longer",
    "sas-token": "the broker hands SAS tokens out, and takes none: none can be made from another",
}
_AUTH_METHOD = "AUTH_METHOD_"


def choices(enum: tuple[Any, str]) -> list[str]:
    """Returns the words of an enum, in the order of the API."""
    wrapper, prefix = enum
    return [_plain(name, prefix) for name, number in wrapper.items() if number]


def to_number(enum: tuple[Any, str], word: str, field: str) -> Any:
    """Returns the number of an enum's word.

    Raises InvalidArgumentError where there is no such word.
    """
    wrapper, prefix = enum
    for name, number in wrapper.items():
        if number and _plain(name, prefix) == word:
            return number
    if prefix == _AUTH_METHOD and (why := NEVER_AUTH_METHODS.get(word)):
        raise InvalidArgumentError(f"{field}: {word} is refused: {why}; expected one of {', '.join(choices(enum))}")
    raise InvalidArgumentError(f"{field}: {word!r} is unknown; expected one of {', '.join(choices(enum))}")


@lru_cache(maxsize=256)  # pure, and each of ten thousand rows of a list says the same few
def to_word(enum: tuple[Any, str], number: int) -> str:
    """Returns the word of a number; a newer broker's unknown one shows as itself."""
    wrapper, prefix = enum
    if number == 0:
        return ""
    try:
        return _plain(wrapper.Name(number), prefix)
    except ValueError:
        return f"unknown-{number}"


def name(enum: tuple[Any, str], number: int) -> str:
    """Returns the name of a number without its prefix, such as `GRANT_GONE`; empty where it is not set."""
    return to_word(enum, number).upper().replace("-", "_")


def to_permissions(words: Iterable[str]) -> list[Any]:
    """Returns the numbers of permissions.

    Raises InvalidArgumentError for an unknown one, and for one bare string.
    """
    if isinstance(words, str):
        raise InvalidArgumentError('permissions: is one string; expected several, such as ("read", "list")')
    return [to_number(PERMISSION, word, "permissions") for word in words]


def permissions(numbers: Iterable[int]) -> tuple[str, ...]:
    """Returns the words of permissions, in the order given."""
    return _permissions(tuple(numbers))


@lru_cache(maxsize=256)  # as above
def _permissions(numbers: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(to_word(PERMISSION, number) for number in numbers)


def to_duration(value: timedelta, field: str) -> Duration:
    """Returns a protobuf Duration.

    Raises InvalidArgumentError where it is no timedelta, or longer than a Duration can be: 315,576,000,000 s, about
    10,000 years.
    """
    if not isinstance(value, timedelta):
        raise InvalidArgumentError(f"{field}: {value!r} is not a timedelta; expected one such as timedelta(minutes=15)")
    message = Duration()
    try:
        message.FromTimedelta(value)
        message.ToJsonString()  # checks the range, which FromTimedelta leaves to others in some versions
    except (ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{field}: {value} is longer than a duration can be; expected minutes to days"
        ) from None
    return message


def to_timestamp(value: datetime, field: str) -> Timestamp:
    """Returns a protobuf Timestamp.

    Raises InvalidArgumentError where it is no datetime, or a naive one: that would mean another moment on another
    machine.
    """
    if not isinstance(value, datetime):
        raise InvalidArgumentError(f"{field}: {value!r} is not a datetime; expected an aware one, such as one in UTC")
    if value.tzinfo is None:
        raise InvalidArgumentError(f"{field}: has no time zone; expected an aware datetime, such as one in UTC")
    message = Timestamp()
    message.FromDatetime(value.astimezone(UTC))
    return message


def given_duration(value: timedelta | None, field: str) -> Duration | None:
    """Returns a Duration as `to_duration` does, None for None."""
    return None if value is None else to_duration(value, field)


def given_timestamp(value: datetime | None, field: str) -> Timestamp | None:
    """Returns a Timestamp as `to_timestamp` does, None for None."""
    return None if value is None else to_timestamp(value, field)


def moment(message: Any, field: str) -> datetime | None:
    """Returns a timestamp of a message in UTC, None where it is not set."""
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None


def span(message: Any, field: str) -> timedelta | None:
    """Returns a duration of a message, None where it is not set."""
    return getattr(message, field).ToTimedelta() if message.HasField(field) else None


def _plain(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", "-")
