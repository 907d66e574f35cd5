"""polars with tokens that renew themselves (extra `polars`).

    options = valetkey.polars.options(valetkey.TokenSource("az://models", ["read", "list"]))
    frame = polars.read_parquet("az://models/runs/*.parquet", **options)

polars asks its provider anew when the end is there that it was told, to the second and not before. So it is told one
that leaves a fifth of a token's life: by then a source has the next one. The broker is asked by the source alone.
"""

import time
from typing import Any

from valetkey.account_and_container import account_and_container
from valetkey.token_source import TokenSource
from valetkey.token_values import life_of

_LEAD_SHARE = 0.2


class CredentialProvider:
    """What polars takes as `credential_provider`: the source's current token. Pickled, it travels without any."""

    def __init__(self, source: TokenSource) -> None:
        """Asks for no token yet."""
        self._source = source

    def __call__(self) -> tuple[dict[str, str], int]:
        """Returns the current token, and when to ask again, in seconds of this machine's clock.

        Raises as `TokenSource.current` does. While there is no newer token than an old one, that is each second.
        """
        token = self._source.current()
        good_for = self._source.lasts() - _LEAD_SHARE * life_of(token)
        return {"sas_token": token.sas}, int(time.time() + max(good_for, 1.0))

    def __repr__(self) -> str:
        return f"CredentialProvider({self._source!r})"


def options(source: TokenSource, **storage_options: str) -> dict[str, Any]:
    """Returns the keyword arguments for polars' readers, scanners and writers; asks for the token.

    They are good for the account of the source's token; `storage_options` are further ones of polars.
    """
    token = source.current()
    account_url, _ = account_and_container(token)
    # The environment could say otherwise.
    where = {
        "skip_signature": "false",
        "use_emulator": "false",
        "account_name": token.resource.account,
        "endpoint": account_url,
    }
    return {"credential_provider": CredentialProvider(source), "storage_options": {**where, **storage_options}}


__all__ = ["CredentialProvider", "options"]
