"""obstore's AzureStore with tokens that renew themselves (extra `obstore`).

    store = valetkey.obstore.store(valetkey.TokenSource("az://models", ["read", "list"]))

obstore asks its provider anew once less than 300 s are left until the end that it was told, at each request, and never
for a retry. So it is told an end of just over 300 s from now, by its own clock: it asks about once a second, is
answered from memory, and has the broker's current token within a second of a rotation. The broker is asked by the
source alone.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from valetkey.account_and_container import account_and_container
from valetkey.token_source import TokenSource
from valetkey.token_values import life_of

if TYPE_CHECKING:
    from obstore.store import AzureStore

# Source: object_store's TokenCache, whose `min_ttl` obstore keeps.
_ASKS_WHEN_LEFT = timedelta(seconds=300)
_HELD_SECONDS, _HELD_SHARE = 1.0, 0.1
# A source has a new token when a quarter of the old one's life is left: what is tried again for no longer than that is
# over before its token is. obstore's own limit is three minutes. It counts from the start of a request, so one slow
# answer can use all of it up: under five seconds there would be no second try, which the token may well live to see.
_RETRY_SHARE, _LEAST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 0.2, 5.0, 180.0


class CredentialProvider:
    """What AzureStore takes as `credential_provider`: the source's current token. Pickled, it travels without any."""

    def __init__(self, source: TokenSource) -> None:
        """Asks for no token yet."""
        self._source = source

    def __call__(self) -> dict[str, Any]:
        """Returns the current token, and when to ask again; raises as `TokenSource.current` does."""
        token = self._source.current()
        held = timedelta(seconds=min(_HELD_SECONDS, self._source.lasts() * _HELD_SHARE))
        return {"sas_token": token.sas, "expires_at": datetime.now(UTC) + _ASKS_WHEN_LEFT + held}

    def __repr__(self) -> str:
        return f"CredentialProvider({self._source!r})"


def store(source: TokenSource, **options: Any) -> "AzureStore":
    """Returns a store for the container of a source's token; asks for the token.

    `options` are those of AzureStore, such as `prefix`, `client_options` and `retry_config`. Retries end, unless that
    says otherwise, before the token does that they go out with, if it lives for 25 s or longer.
    """
    try:
        from obstore.store import AzureStore  # noqa: PLC0415 (the provider does without)
    except ModuleNotFoundError as error:
        needs = f"valetkey.obstore needs {error.name}; install valetkey[obstore]"
        raise ModuleNotFoundError(needs, name=error.name) from None
    token = source.current()
    account_url, container = account_and_container(token)
    seconds = min(max(life_of(token) * _RETRY_SHARE, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS)
    given: dict[str, Any] = {
        "account_name": token.resource.account,
        "endpoint": account_url,
        "retry_config": {"retry_timeout": timedelta(seconds=seconds)},
        # The environment could say so.
        "skip_signature": False,
        "use_emulator": False,
        **options,
    }
    return AzureStore(container, credential_provider=CredentialProvider(source), **given)


__all__ = ["CredentialProvider", "store"]
