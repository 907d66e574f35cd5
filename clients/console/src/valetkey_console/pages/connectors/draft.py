"""A connector that is going to be registered, as a form says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.datastructures import FormData

from valetkey.connector_type_values import AuthMethodDescription, ConnectorTypeDescription, FieldDescription
from valetkey.times import utc
from valetkey_console.fields.parsing import duration, lines, moment, pairs
from valetkey_console.pages.connectors.credential_form import azure_of, options, read_given
from valetkey_console.pages.field_problems import FieldProblems
from valetkey_console.visits.rendering import command, option

NAMED = "authentication_secret"
"""What stands for an auth method where a named secret says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be registered: `config` and `secrets` by the API's names, `notes` by the client's."""

    name: str
    type: str
    auth_method: str
    config: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    resource_type: str = ""
    resource_id: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    def checked(self) -> dict[str, Any]:
        """Returns the arguments of `check_connector` but the name. Raises InvalidArgumentError."""
        return {
            **self._place(),
            "auth_method": self.auth_method,
            "azure": azure_of(self.config),
            "secrets": self.secrets,
        }

    def created(self) -> dict[str, Any]:
        """Returns the arguments of `create_connector` but the name. Raises InvalidArgumentError."""
        if self.auth_method != NAMED:
            return {**self.checked(), **self.notes}
        narrowing = {name: value for name, value in self.config.items() if name != NAMED}
        azure = azure_of(narrowing) if narrowing else None
        return {**self._place(), NAMED: self.config.get(NAMED, ""), "azure": azure, **self.notes}

    def line(self) -> str:
        """Returns the command that registers the same, with @FILE in place of each secret."""
        words = ["valetkey", "service-connector", "register"]
        words += ["--type", self.type] if self.type != "azure" else []
        words += ["--auth-method", self.auth_method] if self.auth_method != NAMED else []
        words += options(self.config, self.secrets)
        words += ["--resource-type", self.resource_type] if self.resource_type else []
        words += ["--resource-id", self.resource_id] if self.resource_id else []
        return command(*words, *_told(self.notes), of=self.name or "NAME")

    def _place(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "resource_type": self.resource_type or None,
            "resource_id": self.resource_id or None,
        }


async def read_draft(form: FormData, described: ConnectorTypeDescription, method: AuthMethodDescription) -> Draft:
    """Returns what a form says. Raises FormValidationError for what is missing or cannot be understood."""
    problems = FieldProblems()
    name = text_of(form, "name")
    problems.require(name, "name", "one such as prod-models")
    given = await read_given(form, all_fields(described, method), problems, needed=True)
    notes = read_notes(form, problems)
    problems.check()
    # What was chosen of the resources that it would reach goes before what was typed.
    resource_id = text_of(form, "serves") or text_of(form, "resource_id")
    return Draft(
        name=name,
        type=described.type,
        auth_method=method.auth_method,
        config=given.config,
        secrets=given.secrets,
        resource_type=text_of(form, "resource_type"),
        resource_id=resource_id,
        notes=notes,
    )


def sketch(described: ConnectorTypeDescription, method: AuthMethodDescription) -> Draft:
    """Returns a draft of examples, for the command that stands beside an empty form."""
    needed = [each for each in method.fields if each.required]
    if not any(each.secret for each in needed):
        needed += [each for each in method.fields if each.secret][:1]
    return Draft(
        name="",
        type=described.type,
        auth_method=method.auth_method,
        config={each.name: each.example for each in needed if not each.secret},
        secrets={each.name: "" for each in needed if each.secret},
    )


def all_fields(described: ConnectorTypeDescription, method: AuthMethodDescription) -> tuple[FieldDescription, ...]:
    """Returns what can be given: what the auth method takes, and what says where to look."""
    return (*method.fields, *place_fields(described, method))


def place_fields(described: ConnectorTypeDescription, method: AuthMethodDescription) -> tuple[FieldDescription, ...]:
    """Returns what says where to look, but for what the auth method takes itself."""
    own = {each.name for each in method.fields}
    return tuple(each for each in described.fields if each.name not in own)


def read_notes(form: FormData, problems: FieldProblems) -> dict[str, Any]:
    """Returns what is noted down of a connector; what is empty is left out, and what cannot be understood."""
    tolerance = "expires_skew_tolerance"
    found = {
        "description": text_of(form, "description"),
        "labels": problems.read(pairs, lines(text_of(form, "labels")), "labels"),
        "expire_time": problems.read(moment, text_of(form, "expire_time"), "expire_time"),
        tolerance: problems.read(duration, text_of(form, tolerance), tolerance),
    }
    return {name: value for name, value in found.items() if value}


def text_of(form: FormData, name: str) -> str:
    """Returns what was typed into a field, without the spaces around it."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _told(notes: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in notes.items():
        match value:
            case datetime():
                words += ["--expires-at", utc(value)]
            case timedelta():
                words += [option(name), f"{value.total_seconds():g}s"]
            case str():
                words += [option(name), value]
            case _:
                words += [word for key, of in value.items() for word in ("--label", f"{key}={of}")]
    return words
