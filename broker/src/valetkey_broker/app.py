"""The composition root: builds the core, in order, and closes it in reverse, also after a start that failed."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from valetkey_broker.adapters.azure import AUTH_METHODS, AzureCloud
from valetkey_broker.adapters.oidc import key_source
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.authn.api_key_admin import ApiKeyAdmin
from valetkey_broker.authn.authenticator import CompositeAuthenticator, build_authenticator, build_role_bindings
from valetkey_broker.authn.roles import RolesNow
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.authz.explain import Explainer
from valetkey_broker.authz.grant_admin import GrantAdmin
from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.unusable_api_key import MissingKey
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.rotation_wiring import Parts, Rotating, build_rotating
from valetkey_broker.connectors.unreached_containers import UnreachedContainers
from valetkey_broker.issuing.connector_choice import ConnectorChooser
from valetkey_broker.issuing.counting_issuer import issuer_type
from valetkey_broker.issuing.decider import Decider
from valetkey_broker.issuing.diagnosis import Diagnoser
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.scope_choice import Scopes
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.model import Connector
from valetkey_broker.observability.counters import Figures
from valetkey_broker.ports import Clock, Cloud, Ledger, StateStore
from valetkey_broker.recording import Changes
from valetkey_broker.revoking.wiring import Revoking, build_revoking
from valetkey_broker.settings import Settings
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

# Who shows no sign of life between two polls is taken for dead; not where polls come quicker than that.
_LEAST_ABANDONED_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class Core:
    """The broker without its server: what commands that work on Vault directly need."""

    store: StateStore
    cloud: Cloud
    memory: Memory
    repository: StateRepository
    connector_admin: ConnectorAdmin
    health: ConnectorHealth
    api_keys: ApiKeyAdmin
    policy: Policy
    grants: GrantAdmin
    explainer: Explainer
    keys: SigningKeys
    reach: ReachCache
    issuer: Issuer
    diagnoser: Diagnoser
    rotating: Rotating
    revoking: Revoking
    authenticator: CompositeAuthenticator
    trust: TrustBundles | None
    ledger: Ledger
    clock: Clock
    figures: Figures | None


@contextlib.asynccontextmanager
async def open_core(
    settings: Settings,
    *,
    store: StateStore | None = None,
    cloud: Cloud | None = None,
    ledger: Ledger | None = None,
    clock: Clock = time.time,
) -> AsyncIterator[Core]:
    """Builds the core; nothing is connected yet. Tests hand in fakes of the ports."""
    profiles = settings.profiles()
    issuing = settings.issuing
    longest_token = issuing.max_ttl_seconds + issuing.clock_skew_seconds
    async with contextlib.AsyncExitStack() as closing:
        store = store or VaultStateStore(settings.vault)
        closing.push_async_callback(store.close)
        cloud = cloud or AzureCloud(profiles)
        closing.push_async_callback(cloud.close)
        ledger = ledger or SqlLedger(settings.ledger, clock)
        closing.push_async_callback(ledger.close)
        memory = Memory()
        policy = Policy(memory, clock, profiles, ttl_within_identity=issuing.ttl_within_identity)

        async def gone(connector_uid: str) -> None:
            keys.forget(connector_uid)
            for cache in (reach, looked_at):
                cache.forget(connector_uid)
            await cloud.forget(connector_uid)

        async def changed(connector: Connector) -> None:
            keys.forget_earlier(connector)
            for cache in (reach, looked_at):
                cache.forget_earlier(connector)
            await cloud.forget(connector.uid)

        changes = Changes(ledger, clock)
        repository = StateRepository(
            store,
            memory,
            AUTH_METHODS,
            gone,
            on_connector_changed=changed,
            on_settled=changes.reconciled,
            abandoned_seconds=max(_LEAST_ABANDONED_SECONDS, 0.8 * settings.vault.poll_seconds),
        )
        closing.push_async_callback(repository.close)
        health = ConnectorHealth(AUTH_METHODS, clock)
        questions = CloudClient(cloud, repository.credential, issuing.cloud_timeout_seconds, health)
        keys = SigningKeys(
            questions=questions,
            clock=clock,
            key_seconds=issuing.delegation_key_seconds,
            skew_seconds=issuing.clock_skew_seconds,
            shortest_share=issuing.min_ttl_share,
            auth_methods=AUTH_METHODS,
            not_before=memory.keys_not_before,
        )
        closing.push_async_callback(keys.close)
        reach = ReachCache(questions, clock, issuing.discovery_seconds)
        closing.push_async_callback(reach.close)
        # What is looked at to warn of a grant's typing errors has a memory of its own: it changes nothing for tokens.
        looked_at = ReachCache(
            CloudClient(cloud, repository.credential, issuing.cloud_timeout_seconds), clock, issuing.discovery_seconds
        )
        closing.push_async_callback(looked_at.close)
        trust = TrustBundles(settings.authn.mtls.trust_domains) if settings.authn.mtls is not None else None
        catch_up = repository.catching_up.in_bounds
        authenticator = build_authenticator(
            settings.authn, memory, clock, key_source=key_source, trust=trust, catch_up=catch_up
        )
        closing.push_async_callback(authenticator.close)
        connector_admin = ConnectorAdmin(
            repository=repository,
            memory=memory,
            cloud=cloud,
            reach=reach,
            auth_methods=AUTH_METHODS,
            signing_keys=keys.of,
            profiles=profiles,
            default_cloud=settings.default_cloud,
            clock=clock,
            timeout_seconds=issuing.cloud_timeout_seconds,
            ledger=ledger,
            longest_token=longest_token,
        )
        figures = Figures() if settings.metrics.port is not None else None
        decider = Decider(
            memory=memory,
            policy=policy,
            chooser=ConnectorChooser(profiles, reach),
            scopes=Scopes(reach, keys),
            keys=keys,
            clock=clock,
            settings=issuing,
            standing=authenticator.standing,
            catch_up=catch_up,
        )
        issuer = issuer_type(figures, memory.connectors)(
            decider=decider, cloud=cloud, ledger=ledger, clock=clock, skew_seconds=issuing.clock_skew_seconds
        )
        parts = Parts(
            repository=repository,
            memory=memory,
            connector_admin=connector_admin,
            cloud=cloud,
            ledger=ledger,
            clock=clock,
        )
        roles_now = RolesNow(memory, build_role_bindings(settings.authn), clock).of
        rotating = build_rotating(parts, AUTH_METHODS, changes.make, roles_now)
        revoking = build_revoking(
            parts,
            questions,
            keys,
            rotating,
            auth_methods=AUTH_METHODS,
            profiles=profiles,
            stale_seconds=settings.vault.max_stale_seconds,
        )
        unreached = UnreachedContainers(reach.known, looked_at, clock, issuing.discovery_seconds).of
        yield Core(
            store=store,
            cloud=cloud,
            memory=memory,
            repository=repository,
            connector_admin=connector_admin,
            health=health,
            api_keys=ApiKeyAdmin(repository, memory, clock),
            policy=policy,
            grants=GrantAdmin(repository, memory, clock, issuing.max_ttl_seconds, settings.authn.vouchers(), unreached),
            explainer=Explainer(policy, clock, issuing, reach.hierarchical, reach.known, MissingKey(memory, clock).of),
            keys=keys,
            reach=reach,
            issuer=issuer,
            diagnoser=Diagnoser(memory, ledger, questions, profiles, clock, longest_token, revoking.leases),
            rotating=rotating,
            revoking=revoking,
            authenticator=authenticator,
            trust=trust,
            ledger=ledger,
            clock=clock,
            figures=figures,
        )
