"""Credentials that the operator's own environment offers, where Azure's tools and SDKs look for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from valetkey.cli.auth_methods import AuthMethod
from valetkey.cli.credential_input import read_secret
from valetkey.cli.screen import Screen
from valetkey.errors import InvalidArgumentError

# Each way to log in: the auth method, and the variable that holds each field. A path is of a file, given as @FILE.
_PRINCIPAL = {"tenant_id": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID"}
_WAYS: Sequence[tuple[AuthMethod, Mapping[str, str]]] = (
    (AuthMethod.SERVICE_PRINCIPAL, {**_PRINCIPAL, "client_secret": "AZURE_CLIENT_SECRET"}),
    (AuthMethod.SERVICE_PRINCIPAL, {**_PRINCIPAL, "client_certificate": "AZURE_CLIENT_CERTIFICATE_PATH"}),
    (AuthMethod.CONNECTION_STRING, {"connection_string": "AZURE_STORAGE_CONNECTION_STRING"}),
    (AuthMethod.ACCOUNT_KEY, {"storage_account": "AZURE_STORAGE_ACCOUNT", "account_key": "AZURE_STORAGE_KEY"}),
)
_OPTIONAL = {"client_certificate": {"client_certificate_password": "AZURE_CLIENT_CERTIFICATE_PASSWORD"}}
_NO_USE = {
    "AZURE_FEDERATED_TOKEN_FILE": "a workload's own token stays with the workload; give the broker one: implicit",
    "AZURE_STORAGE_SAS_TOKEN": "no token can be made from another",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One credential that was found. `fields` are by the API's names; `sources` says which variable each is from."""

    auth_method: AuthMethod
    fields: Mapping[str, str] = field(repr=False)
    sources: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.auth_method} (from {', '.join(self.sources.values())})"


def offers(environ: Mapping[str, str]) -> list[Offer]:
    """Returns every credential that the environment holds in full."""
    found = []
    for method, needed in _WAYS:
        if not all(environ.get(variable) for variable in needed.values()):
            continue
        extra = next((more for name, more in _OPTIONAL.items() if name in needed), {})
        sources = {**needed, **{name: variable for name, variable in extra.items() if environ.get(variable)}}
        fields = {
            # What stands in the variable is the path of the file.
            name: f"@{environ[variable]}" if variable.endswith("_PATH") else environ[variable]
            for name, variable in sources.items()
        }
        found.append(Offer(method, fields, sources))
    return found


def read_offer(offer: Offer, screen: Screen) -> dict[str, str]:
    """Returns the fields of an offer with the file read that one may stand in. Raises SettingsError."""
    files = [name for name, variable in offer.sources.items() if variable.endswith("_PATH")]
    return {name: read_secret(name, value, screen) if name in files else value for name, value in offer.fields.items()}


def the_offer(environ: Mapping[str, str], wanted: AuthMethod | None) -> Offer:
    """Returns the one credential of the environment, of the auth method that is wanted, if any.

    Raises InvalidArgumentError where there is none, with what is missing, or where there are several.
    """
    found = [offer for offer in offers(environ) if wanted in (None, offer.auth_method)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidArgumentError(
            f"--auto-configure: the environment offers {len(found)} credentials: {'; '.join(map(str, found))}; "
            + (
                "choose one with --auth-method"
                if len({offer.auth_method for offer in found}) == len(found)
                else "choose one with --auth-method, or unset what is not meant"
            )
        )
    raise InvalidArgumentError(
        f"--auto-configure: the environment offers no credential{f' for {wanted}' if wanted else ''}"
        f"{_missing(environ, wanted)}"
    )


def _missing(environ: Mapping[str, str], wanted: AuthMethod | None) -> str:
    ways = [needed for method, needed in _WAYS if wanted in (None, method)]
    if not ways:
        return (
            ", for which there is nothing to give: it is what the broker's own surroundings prove; "
            f"leave --auto-configure out: --auth-method {wanted} --implicit-source managed-identity"
        )
    begun = [needed for needed in ways if any(environ.get(variable) for variable in needed.values())]
    parts = [
        f"{' and '.join(v for v in needed.values() if environ.get(v))} set, but not "
        f"{' and '.join(v for v in needed.values() if not environ.get(v))}"
        for needed in begun
    ]
    parts += [f"{variable} is of no use here: {why}" for variable, why in _NO_USE.items() if environ.get(variable)]
    if parts:
        return ": " + "; ".join(parts)
    return "; expected " + ", or ".join(", ".join(needed.values()) for needed in ways)
