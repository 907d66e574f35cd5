"""Puts the sources of endings together: stored credentials, certificate files, the log-in to Vault."""

from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.expiry.certificate_endings import CertificateFiles
from valetkey_broker.expiry.client_secret_endings import GraphEndings
from valetkey_broker.expiry.endings import Endings, Source
from valetkey_broker.expiry.stored_endings import StoredEndings
from valetkey_broker.expiry.vault_login_ending import KnowsItsLogin, VaultLogin
from valetkey_broker.ports import Clock, StateStore
from valetkey_broker.ports.credential_maker import CredentialMaker
from valetkey_broker.settings import Settings


def build_endings(
    settings: Settings, store: StateStore, objects: CredentialHolders, maker: CredentialMaker, clock: Clock
) -> Endings:
    """Returns the endings that ask every source the broker has; `maker` is what can look at secrets in the cloud."""
    mtls = settings.authn.mtls
    sources: list[Source] = [
        StoredEndings(objects.memory, objects.auth_methods, objects.repository.known_credential),
        CertificateFiles(settings.server.tls_cert_file, mtls.trust_domains if mtls is not None else {}),
    ]
    if isinstance(store, KnowsItsLogin):
        sources.append(VaultLogin(store))
    endings = Endings(sources, clock)
    endings.add(GraphEndings(maker, objects, clock))
    return endings
