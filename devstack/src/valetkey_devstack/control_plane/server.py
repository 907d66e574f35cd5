"""The stand-in as a TLS server in the caller's event loop."""

import ssl
import uuid
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509

from valetkey_broker.model import Secret, check_account, check_uuid
from valetkey_devstack.control_plane import arm, entra, graph
from valetkey_devstack.control_plane.arm_keys import ArmKeys
from valetkey_devstack.control_plane.arm_routes import ArmRoutes
from valetkey_devstack.control_plane.client_assertions import FederatedCredential
from valetkey_devstack.control_plane.entra_error import EntraError
from valetkey_devstack.control_plane.faults import Faults, Step
from valetkey_devstack.control_plane.graph_routes import GraphRoutes
from valetkey_devstack.control_plane.key_revocations import KeyRevocations
from valetkey_devstack.control_plane.log_in_routes import LogInRoutes
from valetkey_devstack.control_plane.managed_identity import ManagedIdentities

_PUBLIC_ARM = "https://management.azure.com"
_PUBLIC_GRAPH = "https://graph.microsoft.com"


class ControlPlane:
    """Entra, Graph and ARM for one tenant, one service principal, one subscription and its storage accounts.

    `requests` counts the requests by step. `page_size` is the number of storage accounts ARM lists at once,
    `token_seconds` the lifetime of new tokens. `managed_identities` are served once they are started. `graph` is the
    application and `passwords` its secrets; `graph_roles` are its permissions there. `account_keys.holder` is the
    storage whose keys ARM tells; `key_revocations` has the orders to revoke user delegation keys. `log_ins` are those
    of people.
    """

    def __init__(
        self,
        tenant_id: str,
        client_id: str,
        client_secret: Secret,
        subscription_id: str,
        accounts: Iterable[str] = (),
    ) -> None:
        self.url = ""
        self._entra = entra.Entra(check_uuid("tenant_id", tenant_id), check_uuid("client_id", client_id), client_secret)
        self.log_ins = self._entra.log_ins
        self._arm = arm.Arm(check_uuid("subscription_id", subscription_id), self._entra.tenant_id)
        self.passwords = self._entra.passwords
        self.graph = graph.Graph(self._entra.client_id, self.passwords)
        self.graph_roles = {graph.OWNED_BY}
        self.account_keys = ArmKeys(self._arm, self._entra.now)
        self.key_revocations = KeyRevocations()
        self._faults = Faults()
        self._runner: web.AppRunner | None = None
        self.requests = self._faults.requests
        self.managed_identities = ManagedIdentities(self._token_of, str(uuid.uuid4()))
        for account in accounts:
            self.add_account(account)

    async def start(self, host: str, port: int, cert_file: Path | str, key_file: Path | str) -> None:
        """Serves HTTPS on `host` and `port` (0: any free one); `url` then says where."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert_file, key_file)
        app = web.Application()
        app.on_response_prepare.append(self._date)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/{tenant}/discovery/v2.0/keys", self._keys)
        app.router.add_get("/common/discovery/instance", self._instance)
        keys, revocations = self.account_keys, self.key_revocations
        ArmRoutes(self._entra, self._arm, keys, revocations, self._faults, self._arm_audiences).add_to(app.router)
        LogInRoutes(self.log_ins).add_to(app.router)
        GraphRoutes(self._entra, self.graph, self._faults, self._graph_audiences).add_to(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        try:
            await site.start()
        except OSError:
            await self.stop()
            raise
        self.url = f"https://{host}:{self._runner.addresses[0][1]}"
        self.log_ins.issuer = str(self._entra.configuration(self.url)["issuer"])
        self._entra.roles = dict.fromkeys(self._graph_audiences(), self.graph_roles)

    async def stop(self) -> None:
        """Stops serving; a second call does nothing."""
        await self.managed_identities.stop()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @property
    def graph_url(self) -> str:
        """Where Graph is."""
        return f"{self.url}{graph.PATH}"

    # The world it stands for.

    @property
    def ahead(self) -> float:
        """How many seconds Azure's clock is before this machine's."""
        return self._entra.ahead

    @ahead.setter
    def ahead(self, value: float) -> None:
        self._entra.ahead = value

    @property
    def page_size(self) -> int:
        """How many storage accounts ARM lists at once."""
        return self._arm.page_size

    @page_size.setter
    def page_size(self, value: int) -> None:
        self._arm.page_size = value

    @property
    def token_seconds(self) -> int:
        """The lifetime of new tokens, in seconds."""
        return self._entra.token_seconds

    @token_seconds.setter
    def token_seconds(self, value: int) -> None:
        self._entra.token_seconds = value

    def add_account(self, name: str, *, resource_group: str = "valetkey", kind: str = "StorageV2") -> None:
        """Adds a storage account to the subscription."""
        self._arm.accounts.append(arm.StorageAccount(check_account("account", name), resource_group, kind))

    def set_properties(self, account: str, **properties: Any) -> None:
        """Sets properties of a storage account, by ARM's names, such as `allowSharedKeyAccess`."""
        self._arm.properties.setdefault(account, {}).update(properties)

    def add_refusing_subscription(
        self, subscription_id: str, status: int, code: str, *, retry_after: int | None = None
    ) -> None:
        """Adds a subscription that the service principal sees, and that answers with an error of ARM's."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        error = arm.ArmError(status, code, "This subscription was told to refuse.", headers)
        self._arm.refusing[check_uuid("subscription_id", subscription_id)] = error

    def add_secret(self, secret: Secret, *, works_after: float = 0.0) -> None:
        """Adds a client secret; Entra takes it only `works_after` seconds from now."""
        self.passwords.add(secret, None, works_after=works_after)

    def expire_secret(self, secret: Secret) -> None:
        """Lets a client secret expire: AADSTS7000222. Raises LookupError where there is no such secret."""
        self.passwords.expire(secret)

    def remove_secret(self, secret: Secret) -> None:
        """Removes a client secret: AADSTS7000215. Raises LookupError where there is no such secret."""
        self.passwords.remove(self.passwords.find(secret))

    def add_certificate(self, certificate: x509.Certificate) -> None:
        """Uploads a client certificate to the application."""
        self._entra.assertions.add_certificate(certificate)

    def remove_certificate(self, certificate: x509.Certificate) -> None:
        """Removes a client certificate: AADSTS700027."""
        self._entra.assertions.remove_certificate(certificate)

    def add_federated_credential(self, credential: FederatedCredential) -> None:
        """Lets the application prove itself by another issuer's tokens."""
        self._entra.assertions.add_federated(credential)

    # What goes wrong.

    def fail(
        self,
        step: Step,
        status: int,
        *,
        retry_after: float | None = None,
        body: str | None = None,
        times: int | None = None,
        delay: float = 0.0,
    ) -> None:
        """Answers `step` with `status` after `delay` seconds, for the next `times` requests or until `heal`.

        Without `body` the answer has the service's own shape for that status.
        """
        self._faults.plan(step, status, retry_after=retry_after, body=body, times=times, delay=delay)

    def cut(self, step: Step, *, times: int | None = None) -> None:
        """Cuts the connection without an answer."""
        self._faults.plan(step, 0, times=times)

    def slow(self, step: Step, seconds: float, *, times: int | None = None) -> None:
        """Answers rightly, but `seconds` late."""
        self._faults.plan(step, None, delay=seconds, times=times)

    def lose(self, step: Step, *, times: int | None = None, after: float = 0.0) -> None:
        """Does what is asked, and cuts the connection `after` seconds instead of answering."""
        self._faults.plan(step, 0, times=times, delay=after, done=True)

    def heal(self) -> None:
        """Ends all failures."""
        self._faults.clear()

    # Entra.

    async def _token(self, request: web.Request) -> web.StreamResponse:
        met = await self._faults.meet("token", request)
        if isinstance(met, web.StreamResponse):
            return met
        if met is not None:
            status, headers = met
            planned = entra.PLANNED.get(status, entra.PLANNED[503])
            return web.json_response(planned.body(), status=status, headers=headers)
        posted = await request.post()
        form = {name: value for name, value in posted.items() if isinstance(value, str)}
        audiences = self._audiences()
        try:
            return web.json_response(self._entra.token(request.match_info["tenant"], form, audiences, self.url))
        except EntraError as error:
            return web.json_response(error.body(), status=error.status)

    def _token_of(self, resource: str, client_id: str) -> dict[str, Any]:
        return self._entra.token_of(client_id, resource, self._audiences())

    async def _configuration(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["tenant"].lower() != self._entra.tenant_id:
            error = EntraError(400, "invalid_tenant", 90002, "Tenant not found.")
            return web.json_response(error.body(), status=error.status)
        return web.json_response(self._entra.configuration(self.url))

    async def _keys(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._entra.keys())

    async def _instance(self, request: web.Request) -> web.StreamResponse:
        tenant = f"{self.url}/{self._entra.tenant_id}"
        return web.json_response(
            {
                "tenant_discovery_endpoint": f"{tenant}/v2.0/.well-known/openid-configuration",
                "api-version": request.query.get("api-version", "1.1"),
                "metadata": [],
            }
        )

    def _arm_audiences(self) -> set[str]:
        return {self.url, _PUBLIC_ARM}

    def _graph_audiences(self) -> set[str]:
        return {self.graph_url, _PUBLIC_GRAPH}

    def _audiences(self) -> set[str]:
        return {entra.STORAGE_AUDIENCE, *self._arm_audiences(), *self._graph_audiences()}

    async def _date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self._entra.now(), usegmt=True)
