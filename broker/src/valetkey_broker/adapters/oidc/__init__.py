"""Where the public keys of issuers come from: discovery, a URL, or a file."""

from valetkey_broker.adapters.oidc.file_keys import FileKeySource
from valetkey_broker.adapters.oidc.https_keys import HttpKeySource
from valetkey_broker.ports import KeySource
from valetkey_broker.settings import OidcSettings

__all__ = ["FileKeySource", "HttpKeySource", "key_source"]


def key_source(settings: OidcSettings) -> KeySource:
    """Returns the source that the settings of an issuer name. Nothing is connected yet."""
    if settings.jwks_file is not None:
        return FileKeySource(settings.jwks_file)
    return HttpKeySource(
        settings.issuer,
        jwks_uri=settings.jwks_uri,
        ca_file=settings.ca_file,
        bearer_token_file=settings.bearer_token_file,
        proxy=settings.proxy,
        timeout_seconds=settings.timeout_seconds,
    )
