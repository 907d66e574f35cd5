"""Variables of the environment that would win over a token."""

from collections.abc import Mapping

# A key, a connection string or a bearer token that was left over wins over a SAS token in at least one of the Azure
# CLI, adlfs, and what builds on object_store (obstore, polars, delta-rs). So does another SAS, and another place.
WINNING = (
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_AUTH_MODE",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TENANT_ID",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_USE_EMULATOR",
)
_LOGIN = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID")
_PROOF = ("AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE")


def environment_that_wins(environ: Mapping[str, str]) -> str:
    """Returns a sentence where the caller's own login, which is not ours to unset, wins in some tools; else nothing."""
    proof = [name for name in _PROOF if environ.get(name)]
    if not proof or not all(environ.get(name) for name in _LOGIN):
        return ""
    return (
        f"{', '.join((*_LOGIN, *proof))} are set: obstore, polars and delta-rs log in with them, not with the "
        f"token; for these, run: unset {' '.join(proof)}"
    )
