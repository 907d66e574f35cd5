"""What an agent is to keep, as its configuration says: immutable, and compared when that is read anew."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What tokens are asked for with, as `TokenSource` takes it."""

    resource: str
    permissions: tuple[str, ...]
    ttl: timedelta | None = None
    connector: str | None = None
    source_ip: str | None = None
    purpose: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Returns them by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """A file: what of, where, and for whom. `template` is the text of one, with `form` "template"."""

    path: Path
    form: str
    template: str | None = None
    through_proxy: bool = False
    mode: int = 0o600
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPlan:
    """What to run once files were written anew, and for how long at most, in seconds."""

    arguments: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePlan:
    """One resource, and all that is kept for it. `port` is that of its proxy, 0 for a free one, None for no proxy."""

    name: str
    scope: Scope
    outputs: tuple[OutputPlan, ...]
    port: int | None = None
    command: CommandPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole configuration. `warnings` are sentences for whoever wrote it."""

    resources: tuple[ResourcePlan, ...]
    readiness_file: Path | None = None
    remove_on_exit: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[OutputPlan, ...]:
        """All files, of whichever resource."""
        return tuple(output for resource in self.resources for output in resource.outputs)
