"""What a form says of a credential, by the API's description of what an auth method takes.

Its fields are called `given.NAME`, and the file that may hold a secret in place of it `file.NAME`.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from starlette.datastructures import FormData, UploadFile

from valetkey import AzureConfig, SettingsError
from valetkey.connector_type_values import FieldDescription
from valetkey.secret_files import MAX_BYTES, clean_secret, clean_text
from valetkey_console.fields.parsing import wrong
from valetkey_console.pages.field_problems import FieldProblems
from valetkey_console.visits.rendering import option


@dataclass(frozen=True, slots=True)
class Given:
    """What was given, by the API's names; secrets go to the broker, and nowhere else."""

    config: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)


async def read_given(
    form: FormData, described: Iterable[FieldDescription], problems: FieldProblems, *, needed: bool = False
) -> Given:
    """Returns what is given of the fields described; what is empty is left out.

    Notes, without showing it, a file that can hold no secret; where all that is required is `needed`, also what was
    left empty of it.
    """
    config: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for each in described:
        typed, file = form.get(f"given.{each.name}"), form.get(f"file.{each.name}")
        if each.secret and isinstance(file, UploadFile) and file.filename:
            data = await file.read(MAX_BYTES + 1)
            if (held := problems.read(_held, data, each.name)) is not None:
                secrets[each.name] = held
        elif isinstance(typed, str) and typed.strip():
            (secrets if each.secret else config)[each.name] = typed if each.secret else typed.strip()
        elif needed and each.required and not each.secret and isinstance(typed, str):
            problems.require("", each.name, f"one such as {each.example}")
    return Given(config, secrets)


def typed_text(form: FormData) -> dict[str, str]:
    """Returns what was typed, to be shown again; templates show it in fields that hold no secret."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def azure_of(config: Mapping[str, str]) -> AzureConfig:
    """Returns the configuration in fields. Raises InvalidArgumentError for one that the console's client lacks."""
    known = {each.name for each in fields(AzureConfig)}
    if unknown := [name for name in config if name not in known]:
        raise wrong(
            unknown[0], "the broker knows it and this console does not; leave it out, or have the console updated"
        )
    return AzureConfig(**{"tenant_id": "", "client_id": "", **config})


def options(config: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """Returns the words of a command that give the same; for each secret, that a file holds it."""
    words = [word for name, value in config.items() for word in (option(name), value)]
    return words + [word for name in secrets for word in (option(name), "@FILE")]


def _held(data: bytes, name: str) -> str:
    """Returns the secret in a file, as the command line takes it: a PFX, which is binary, in base64."""
    what = name.replace("_", " ")
    if data[:1] == b"\x30" and not data.isascii() and len(data) <= MAX_BYTES:  # DER: a sequence
        return base64.b64encode(data).decode()
    try:
        text = clean_text(data, what, "the file")
        return text if "\n" in text else clean_secret(data, what, "the file")[0]
    except SettingsError as error:
        raise wrong(name, error.message.removeprefix(f"{what}: ")) from None
