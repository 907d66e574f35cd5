"""Azure Resource Manager over HTTP: who may come in, and which request is which."""

from collections.abc import Awaitable, Callable

import jwt
from aiohttp import web

from valetkey_devstack.control_plane import arm
from valetkey_devstack.control_plane.arm_keys import ArmKeys
from valetkey_devstack.control_plane.entra import Entra
from valetkey_devstack.control_plane.faults import Faults, Step
from valetkey_devstack.control_plane.key_revocations import KeyRevocations

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ACCOUNTS_PATH = "providers/Microsoft.Storage/storageAccounts"


class ArmRoutes:
    """Serves what `subscriptions` and `keys` know to bearers of tokens that `entra` made for ARM."""

    def __init__(
        self,
        entra: Entra,
        subscriptions: arm.Arm,
        keys: ArmKeys,
        revocations: KeyRevocations,
        faults: Faults,
        audiences: Callable[[], set[str]],
    ) -> None:
        self._key_revocations = revocations
        self._entra = entra
        self._arm = subscriptions
        self._account_keys = keys
        self._faults = faults
        self._arm_audiences = audiences

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Adds the routes."""
        subscription = "/subscriptions/{subscription}"
        group = f"{subscription}/resourceGroups/{{group}}"
        router.add_get("/subscriptions", self._guarded(self._subscriptions))
        router.add_get(f"{subscription}/{_ACCOUNTS_PATH}", self._guarded(self._storage_accounts))
        router.add_get(f"{group}/{_ACCOUNTS_PATH}", self._guarded(self._storage_accounts))
        account = f"{group}/{_ACCOUNTS_PATH}/{{account}}"
        router.add_post(f"{account}/listKeys", self._guarded(self._list_keys, "list-keys"))
        router.add_post(f"{account}/revokeUserDelegationKeys", self._guarded(self._revoke_keys, "revoke-keys"))
        router.add_post(f"{account}/regenerateKey", self._guarded(self._regenerate_key, "regenerate-key"))

    def _guarded(self, handler: _Handler, step: Step = "arm") -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            met = await self._faults.meet(step, request)
            if isinstance(met, web.StreamResponse):
                return met
            try:
                if met is not None:
                    status, headers = met
                    code, text = arm.PLANNED.get(status, arm.PLANNED[503])
                    body = arm.ArmError(status, code, text).body()
                    return web.json_response(body, status=status, headers=headers)
                self._check(request)
                return await self._faults.served(step, request, await handler(request))
            except arm.ArmError as error:
                return web.json_response(error.body(), status=error.status, headers=error.headers)

        return guarded

    def _check(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            text = "Authentication failed. The 'Authorization' header is missing or invalid."
            raise arm.ArmError(401, "AuthenticationFailed", text)
        try:
            self._entra.check(token, self._arm_audiences())
        except jwt.ExpiredSignatureError:
            raise arm.ArmError(401, "ExpiredAuthenticationToken", "The access token has expired.") from None
        except jwt.InvalidAudienceError:
            text = "The access token has been obtained for wrong audience or resource."
            raise arm.ArmError(401, "InvalidAuthenticationTokenAudience", text) from None
        except jwt.InvalidTokenError:
            raise arm.ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.") from None
        if "api-version" not in request.query:
            text = "The api-version query parameter (?api-version=) is required for all requests."
            raise arm.ArmError(400, "MissingApiVersionParameter", text)

    async def _subscriptions(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._arm.subscriptions())

    async def _storage_accounts(self, request: web.Request) -> web.StreamResponse:
        url = str(request.url.origin())
        return web.json_response(self._arm.storage_accounts(request, url))

    async def _list_keys(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._account_keys.listed(request.match_info))

    async def _regenerate_key(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._account_keys.regenerate(request.match_info, await request.json()))

    async def _revoke_keys(self, request: web.Request) -> web.StreamResponse:
        self._key_revocations.order(self._arm.account(request))
        return web.Response()
