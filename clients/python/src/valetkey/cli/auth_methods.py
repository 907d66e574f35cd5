"""What each auth method takes, as far as the command line has to know it; the broker has the last word."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from valetkey.errors import InvalidArgumentError


class AuthMethod(StrEnum):
    """How a connector logs in."""

    SERVICE_PRINCIPAL = "service-principal"
    ACCOUNT_KEY = "account-key"
    CONNECTION_STRING = "connection-string"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class Taken:
    """The fields of the API that belong to one auth method. What says where to look, such as an account, all may have.

    `required` have to be given; of `secrets`, one has to be, and `extra` may be. Where one of `signs` is given, nothing
    else can be meant than this method.
    """

    required: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All of them, in the order in which people are asked."""
        return (*self.required, *self.secrets, *self.extra)


METHODS: Mapping[AuthMethod, Taken] = {
    AuthMethod.SERVICE_PRINCIPAL: Taken(
        required=("tenant_id", "client_id"),
        secrets=("client_secret", "client_certificate"),
        extra=("client_certificate_password",),
        signs=("client_secret", "client_certificate", "client_certificate_password"),
    ),
    AuthMethod.ACCOUNT_KEY: Taken(secrets=("account_key",), signs=("account_key",)),
    AuthMethod.CONNECTION_STRING: Taken(secrets=("connection_string",), signs=("connection_string",)),
    AuthMethod.IMPLICIT: Taken(
        required=("implicit_source",), extra=("client_id", "tenant_id"), signs=("implicit_source",)
    ),
}

SECRET_FIELDS = tuple(
    dict.fromkeys(
        field
        for taken in METHODS.values()
        for field in taken.fields
        if field in taken.secrets or field == "client_certificate_password"
    )
)
_OWN_FIELDS = tuple(dict.fromkeys(field for taken in METHODS.values() for field in taken.fields))
FIELDS = (*_OWN_FIELDS, "storage_account", "subscription_id", "resource_group", "cloud")
"""All fields of a credential and of where to look, by the API's names."""
ALIASES = {"account_name": "storage_account"}
"""ZenML's words for some of them."""


def option(field: str) -> str:
    """Returns the option that gives a field of the API."""
    return f"--{field.replace('_', '-')}"


def recognised(given: Iterable[str]) -> AuthMethod | None:
    """Returns the auth method that the fields given can only mean; None where they mean none yet.

    Raises InvalidArgumentError where they mean several.
    """
    fields = set(given)
    meant = {method: sign for method, taken in METHODS.items() if (sign := fields.intersection(taken.signs))}
    if not meant and "tenant_id" in fields:
        return AuthMethod.SERVICE_PRINCIPAL
    if len(meant) > 1:
        which = " and ".join(f"{'/'.join(sorted(signs))} ({method})" for method, signs in meant.items())
        raise InvalidArgumentError(
            f"{which} are given, and one connector has one auth method; leave out what belongs to the other"
        )
    return next(iter(meant), None)


def check_taken(method: AuthMethod, given: Iterable[str], *, name: Mapping[str, str] | None = None) -> None:
    """Raises InvalidArgumentError for a field that belongs to other auth methods only.

    `name` says what to call a field in the message; its option where it says nothing.
    """
    for field in given:
        if field in _OWN_FIELDS and field not in METHODS[method].fields:
            called = (name or {}).get(field) or option(field)
            takers = ", ".join(other for other, taken in METHODS.items() if field in taken.fields)
            raise InvalidArgumentError(
                f"{called}: is not taken by the auth method {method}, but by {takers}; leave it out, "
                f"or choose another with --auth-method"
            )


def choose(chosen: AuthMethod | None, given: Iterable[str], in_environment: Iterable[str] = ()) -> AuthMethod:
    """Returns the auth method that was chosen, or that can only be meant, and that takes all fields `given`.

    What lies `in_environment` counts where what is given means nothing yet. Raises InvalidArgumentError otherwise.
    """
    fields = list(given)
    method = chosen or recognised(fields) or recognised(in_environment)
    if method is None:
        raise InvalidArgumentError(
            "nothing says how to log in; pass --tenant-id, --client-id and --client-secret (service-principal), "
            "--storage-account and --account-key (account-key), --connection-string, or --implicit-source"
        )
    check_taken(method, fields)
    for field in METHODS[method].required:
        if field not in fields:
            raise InvalidArgumentError(f"{option(field)}: is not given; {method} needs it")
    return method
