"""A decorator for dataclasses that are frozen for the type checker only, and cheaper to make."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=False, field_specifiers=(field,))
def statically_frozen(cls: type[T]) -> type[T]:
    """Makes a dataclass that only the type checker holds to be frozen.

    What freezes a dataclass while it runs makes it several times as slow to make (an `Event`: 5.0 instead of 2.1 µs),
    which is worth it for what lives long and not for what one call makes, hands on and drops.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
