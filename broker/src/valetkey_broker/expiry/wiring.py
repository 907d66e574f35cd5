"""Puts the sources of endings together: stored credentials, certificate files, the log-in to Vault."""

from collections.abc import Mapping

from valetkey_broker.expiry.certificate_files import CertificateFiles
from valetkey_broker.expiry.endings import Endings, Source
from valetkey_broker.expiry.stored_endings import StoredEndings
from valetkey_broker.expiry.vault_login import KnowsItsLogin, VaultLogin
from valetkey_broker.ports import AuthMethod, Clock, StateStore
from valetkey_broker.settings import Settings
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository


def build_endings(
    settings: Settings,
    store: StateStore,
    repository: StateRepository,
    memory: Memory,
    auth_methods: Mapping[str, AuthMethod],
    clock: Clock,
) -> Endings:
    """Returns the endings that ask every source the broker has; whoever learns of ends from a cloud adds its own."""
    mtls = settings.authn.mtls
    sources: list[Source] = [
        StoredEndings(memory, auth_methods, repository.known_credential),
        CertificateFiles(settings.server.tls_cert_file, mtls.trust_domains if mtls is not None else {}),
    ]
    if isinstance(store, KnowsItsLogin):
        sources.append(VaultLogin(store))
    return Endings(sources, clock)
