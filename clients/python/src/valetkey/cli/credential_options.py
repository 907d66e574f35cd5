"""The options that give a credential: the commands of named secrets take them, and connectors' have the same."""

from typing import Annotated, Any

import typer

from valetkey.cli.auth_methods import AuthMethod
from valetkey.errors import InvalidArgumentError


def _text(help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=help_text, show_default=False, metavar=metavar)


def _secret(help_text: str) -> Any:
    return _text(help_text, "@FILE|-")


Method = Annotated[
    AuthMethod | None, _text(f"{', '.join(AuthMethod)}; recognised by what is given, if left out.", "METHOD")
]
TenantId = Annotated[str | None, _text("Entra tenant, a UUID (service-principal).")]
ClientId = Annotated[str | None, _text("Application (client) id of the service principal, a UUID.")]
ClientSecret = Annotated[str | None, _secret("Secret of the service principal.")]
ClientCertificate = Annotated[str | None, _secret("Instead of it, a certificate and its private key: PEM or PFX.")]
ClientCertificatePassword = Annotated[str | None, _secret("Password of the PFX, or of the private key.")]
AccountKey = Annotated[str | None, _secret("Key of the storage account, key1 or key2 (account-key).")]
ConnectionString = Annotated[str | None, _secret("Connection string with an account key (connection-string).")]
ImplicitSource = Annotated[
    str | None, _text("What the broker's own environment offers: managed-identity, workload-identity or environment.")
]
Values = Annotated[
    str | None,
    _text(
        "These as names and values in JSON or YAML, such as '{account_name: …, account_key: …}'; or a file.", "@FILE|-"
    ),
]
StorageAccount = Annotated[str | None, _text("Storage account, also as --account-name.")]
AccountName = Annotated[str | None, typer.Option(hidden=True)]
Cloud = Annotated[str | None, _text("Cloud profile of the broker's settings; its default if left out.")]


def given_options(**options: str | None) -> dict[str, str]:
    """Returns the options that are given, by the API's names: an account's has two. Raises InvalidArgumentError."""
    account, alias = options.get("storage_account"), options.pop("account_name", None)
    if account is not None and alias is not None:
        raise InvalidArgumentError("--storage-account and --account-name are the same; expected one of them")
    return {
        field: value
        for field, value in {**options, "storage_account": alias if account is None else account}.items()
        if value is not None
    }
