"""The log-ins that the broker offers, each sent to its issuer and brought to its end."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from valetkey import ValetKeyError
from valetkey.login.code_flow import authorization_url, callback_part, redeem
from valetkey.login.issuer import Issuer, discover
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.login_offer import LoginOffer
from valetkey.login.login_settings_call import caller_without_identity, login_offers
from valetkey.login.pkce import Ties
from valetkey_console.settings import Settings, SettingsError

CALLBACK = "/login/callback"
# For so many seconds what the broker and an issuer say of themselves counts.
_FRESH = 60.0
_TIMEOUT = 5.0
# Nothing is renewed: a session ends with its token.
_NOT_WANTED = "offline_access"

Said = TypeVar("Said")


class LogIns:
    """Sends people to the issuers that the broker names, and takes what they bring back for an access token."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError, of ours or of `valetkey`, where a file cannot be used."""
        self._settings = settings
        self._http = IssuerHttp(settings.issuer_ca_file)
        self._secret = _secret(settings)
        self._address = settings.address.rstrip("/")
        self._heard: dict[str, tuple[float, object]] = {}

    async def offers(self) -> tuple[LoginOffer, ...]:
        """Returns where people can log in, in the broker's order. Raises ValetKeyError where the broker does not say.

        With a client of the console's own, only at its issuer.
        """
        return await self._fresh("offers", self._ask)

    async def begin(self, offer: LoginOffer) -> tuple[str, Ties]:
        """Returns the issuer's page for a new log-in, and what ties the answer to it. Raises ValetKeyError."""
        issuer = await self._issuer(offer)
        if not issuer.authorization:
            raise ValetKeyError(f"the issuer {offer.issuer} has no page to log in at; expected one that does")
        ties = Ties()
        return authorization_url(issuer, offer, ties, await self._redirect_uri(offer)), ties

    async def callback(self, offer: LoginOffer) -> str:
        """Returns the path at which an issuer's answer comes back. Raises ValetKeyError."""
        return CALLBACK + callback_part(await self._issuer(offer), alone=len(await self.offers()) == 1)

    async def finish(self, offer: LoginOffer, ties: Ties, answer: Mapping[str, str]) -> str:
        """Returns the access token for the answer that a browser brought back. Raises ValetKeyError."""
        issuer = await self._issuer(offer)
        redirect_uri = await self._redirect_uri(offer)
        tokens = await asyncio.to_thread(
            redeem, self._http, issuer, offer, ties, redirect_uri, answer, client_secret=self._secret
        )
        return tokens.access

    async def _redirect_uri(self, offer: LoginOffer) -> str:
        return self._address + await self.callback(offer)

    async def _issuer(self, offer: LoginOffer) -> Issuer:
        return await self._fresh(offer.issuer, lambda: discover(self._http, offer.issuer))

    def _ask(self) -> tuple[LoginOffer, ...]:
        settings = self._settings
        caller = caller_without_identity(settings.endpoint, settings.ca_file, _TIMEOUT)
        try:
            found = caller.run(login_offers())
        finally:
            caller.close()
        return tuple(
            replace(
                offer,
                client_id=settings.login_client_id or offer.client_id,
                scopes=tuple(scope for scope in offer.scopes if scope != _NOT_WANTED),
            )
            for offer in found
            if settings.login_issuer in ("", offer.issuer)
        )

    async def _fresh(self, what: str, ask: Callable[[], Said]) -> Said:
        """Returns what was heard of late, or what `ask`, which waits, gives now."""
        then, said = self._heard.get(what, (-_FRESH, None))
        if time.monotonic() - then < _FRESH:
            return said  # type: ignore[return-value]
        found = await asyncio.to_thread(ask)
        self._heard[what] = (time.monotonic(), found)
        return found


def _secret(settings: Settings) -> str:
    if settings.login_client_secret_file is None:
        return ""
    try:
        secret = settings.login_client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        secret = ""
    if not secret:
        raise SettingsError(f"login_client_secret_file: {settings.login_client_secret_file} holds no secret")
    return secret
