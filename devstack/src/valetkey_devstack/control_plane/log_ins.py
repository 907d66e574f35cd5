"""How people log in at Entra: authorization codes with PKCE, device codes, refresh tokens, and the tokens for them.

Sources: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow, …/v2-oauth2-device-code and
…/reference-error-codes. In three things it is stricter than Entra, or stands for other issuers: PKCE is asked for, a
refresh token is good for once and its second use ends the log-in, and polling too soon is answered with `slow_down`.
"""

import base64
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from valetkey_devstack.control_plane.entra_error import EntraError
from valetkey_devstack.control_plane.people import Person

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = ("authorization_code", "refresh_token", DEVICE_CODE)
# Of the command, and of the console.
_REDIRECT_URIS = ("http://127.0.0.1/callback", "http://127.0.0.1/login/callback")
_OPENID_SCOPES = {"openid", "profile", "email", "offline_access"}
_GRAPH_ID = "00000003-0000-0000-c000-000000000000"
_REFRESH_SECONDS = 90 * 24 * 3600.0
# Without vowels, so that no code is a word, and without letters that are taken for digits.
_USER_CODE_LETTERS = "BCDFGHJKMPQRTVWXYZ"

Sign = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in of a person; `ended` once it was taken back."""

    person: Person
    scopes: frozenset[str]
    nonce: str = ""
    ended: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class _Code:
    session: Session
    redirect_uri: str
    challenge: str
    until: float
    used: bool = False


@dataclass(slots=True)
class _Device:
    user_code: str
    scopes: frozenset[str]
    until: float
    interval: float
    polled: float = 0.0
    person: Person | None = None
    declined: bool = False


@dataclass(slots=True)
class _Refresh:
    session: Session
    until: float
    used: bool = False


class LogIns:
    """People's log-ins to one API, by one public client. Times are in seconds.

    `api_id` is the API's client id, which is the audience of its tokens; `client_id` the public client's, and
    `redirect_uris` what is registered for it: of loopback addresses the port does not count.
    """

    def __init__(self, tenant_id: str, now: Callable[[], float], sign: Sign) -> None:
        self.tenant_id = tenant_id
        self.api_id = str(uuid.uuid5(uuid.UUID(tenant_id), "api"))
        self.client_id = str(uuid.uuid5(uuid.UUID(tenant_id), "command line"))
        self.redirect_uris = set(_REDIRECT_URIS)
        self.code_seconds = 600.0
        self.device_seconds = 900.0
        self.interval = 5.0
        self.token_seconds = 3600
        self.issuer = ""
        self._now = now
        self._sign = sign
        self._codes: dict[str, _Code] = {}
        self._devices: dict[str, _Device] = {}
        self._refreshes: dict[str, _Refresh] = {}

    @property
    def scopes(self) -> list[str]:
        """The scopes that a client asks for to get tokens for the API."""
        return [f"{self.api_id}/.default", "openid", "offline_access"]

    def principal(self, person: Person) -> str:
        """Returns a person's name at the broker."""
        return f"oidc:{self.issuer}#{person.subject(self.tenant_id, self.api_id)}"

    # The authorization endpoint.

    def check_redirect(self, query: Mapping[str, str]) -> None:
        """Raises EntraError, to be shown and never sent back, where it is not known who asks, or where they are."""
        self._check_client(query)
        if _registered_form(query.get("redirect_uri", "")) not in self.redirect_uris:
            text = "The redirect URI specified in the request does not match the redirect URIs configured."
            raise EntraError(400, "invalid_request", 50011, text)

    def check_request(self, query: Mapping[str, str]) -> None:
        """Raises EntraError, to be sent back, where something else is wrong."""
        if query.get("response_type") != "code":
            text = f"response_type '{query.get('response_type', '')}' is not enabled for the application."
            raise EntraError(400, "unsupported_response_type", 700054, text)
        self._scopes(query)
        if not query.get("code_challenge") or query.get("code_challenge_method") != "S256":
            raise EntraError(400, "invalid_request", 9002325, "Proof Key for Code Exchange is required, by S256.")

    def code(self, query: Mapping[str, str], person: Person) -> str:
        """Returns a code for a request that was checked."""
        code = secrets.token_urlsafe(48)
        session = Session(person, self._scopes(query), query.get("nonce", ""))
        until = self._now() + self.code_seconds
        self._codes[code] = _Code(session, query["redirect_uri"], query["code_challenge"], until)
        return code

    # The device authorization endpoint and its page.

    def device(self, form: Mapping[str, str], page: str) -> dict[str, Any]:
        """Returns a device code; people type its short form on `page`. Raises EntraError."""
        self._check_client(form)
        user_code = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(9))
        code = secrets.token_urlsafe(48)
        until = self._now() + self.device_seconds
        self._devices[code] = _Device(user_code, self._scopes(form), until, self.interval)
        return {
            "user_code": user_code,
            "device_code": code,
            "verification_uri": page,
            "expires_in": int(self.device_seconds),
            "interval": int(self.interval),
            "message": f"To sign in, use a web browser to open the page {page} and enter the code {user_code}.",
        }

    def decide(self, user_code: str, person: Person | None) -> bool:
        """Lets a person log in on the device that shows a code, or with None refuses; tells whether there is one."""
        for device in self._devices.values():
            waiting = device.person is None and not device.declined and self._now() < device.until
            if waiting and hmac.compare_digest(device.user_code.encode(), user_code.strip().upper().encode()):
                device.person, device.declined = person, person is None
                return True
        return False

    # The token endpoint.

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Returns the tokens for one of GRANT_TYPES. Raises EntraError."""
        self._check_client(form)
        if form["grant_type"] == "authorization_code":
            return self._tokens(self._redeem(form))
        if form["grant_type"] == "refresh_token":
            return self._tokens(self._refresh(form))
        return self._tokens(self._poll(form))

    def end(self, person: Person) -> None:
        """Takes a person's log-ins back, as an administrator does: their refresh tokens are refused from now on."""
        for refresh in self._refreshes.values():
            if refresh.session.person == person:
                refresh.session.ended.append(True)

    def _redeem(self, form: Mapping[str, str]) -> Session:
        code = self._codes.get(form.get("code", ""))
        if code is None:
            raise EntraError(400, "invalid_grant", 9002313, "Invalid request. Request is malformed or invalid.")
        if code.used:
            code.session.ended.append(True)
            text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code."
            raise EntraError(400, "invalid_grant", 54005, text)
        if self._now() >= code.until:
            raise EntraError(400, "invalid_grant", 70008, "The provided authorization code has expired.")
        if form.get("redirect_uri") != code.redirect_uri:
            text = "The reply address does not match the one provided when requesting the authorization code."
            raise EntraError(400, "invalid_client", 500112, text)
        if not hmac.compare_digest(_challenge(form.get("code_verifier", "")), code.challenge.encode()):
            text = "The Code_Verifier does not match the code_challenge supplied in the authorization request."
            raise EntraError(400, "invalid_grant", 501481, text)
        code.used = True
        return code.session

    def _refresh(self, form: Mapping[str, str]) -> Session:
        refresh = self._refreshes.get(form.get("refresh_token", ""))
        if refresh is None:
            raise EntraError(400, "invalid_grant", 9002313, "Invalid request. Request is malformed or invalid.")
        if self._now() >= refresh.until:
            raise EntraError(400, "invalid_grant", 700082, "The refresh token has expired due to inactivity.")
        if refresh.used:
            refresh.session.ended.append(True)
        if refresh.session.ended:
            text = "The provided grant has expired due to it being revoked, a fresh auth token is needed."
            raise EntraError(400, "invalid_grant", 50173, text)
        refresh.used = True
        return refresh.session

    def _poll(self, form: Mapping[str, str]) -> Session:
        device = self._devices.get(form.get("device_code", ""))
        if device is None:
            raise EntraError(400, "bad_verification_code", 70018, "Invalid verification code.")
        now = self._now()
        if now >= device.until:
            raise EntraError(400, "expired_token", 70019, "The device code has expired.")
        if now - device.polled < device.interval * 0.9:
            device.interval += 5.0
            device.polled = now
            raise EntraError(400, "slow_down", 90055, "There are too many incoming requests.")
        device.polled = now
        if device.declined:
            raise EntraError(400, "authorization_declined", 70017, "The end user has denied the authorization request.")
        if device.person is None:
            text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling."
            raise EntraError(400, "authorization_pending", 70016, text)
        del self._devices[form["device_code"]]
        return Session(device.person, device.scopes)

    def _tokens(self, session: Session) -> dict[str, Any]:
        now = int(self._now())
        person = session.person
        common = {
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + self.token_seconds,
            "name": person.name,
            "oid": person.object_id(self.tenant_id),
            "preferred_username": f"{person.user}@example.org",
            "tid": self.tenant_id,
            "uti": uuid.uuid4().hex,
            "ver": "2.0",
        }
        audience = self.api_id if any(self.api_id in scope for scope in session.scopes) else _GRAPH_ID
        access = {**common, "aud": audience, "sub": person.subject(self.tenant_id, audience)}
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "scope": " ".join(sorted(session.scopes - {"offline_access"})),
            "expires_in": self.token_seconds,
            "ext_expires_in": self.token_seconds,
            "access_token": self._sign({**access, "azp": self.client_id, "azpacr": "0", "scp": "access"}),
        }
        if "openid" in session.scopes:
            identity = {**common, "aud": self.client_id, "sub": person.subject(self.tenant_id, self.client_id)}
            answer["id_token"] = self._sign({**identity, "nonce": session.nonce} if session.nonce else identity)
        if "offline_access" in session.scopes:
            answer["refresh_token"] = secrets.token_urlsafe(64)
            self._refreshes[answer["refresh_token"]] = _Refresh(session, self._now() + _REFRESH_SECONDS)
        return answer

    def _check_client(self, given: Mapping[str, str]) -> None:
        if given.get("client_id", "").lower() != self.client_id:
            text = "This public client was not found in the directory 'Valet Key'."
            raise EntraError(400, "unauthorized_client", 700016, text)

    def _scopes(self, given: Mapping[str, str]) -> frozenset[str]:
        scopes = frozenset(given.get("scope", "").split())
        if not scopes:
            text = "The request body must contain the following parameter: 'scope'."
            raise EntraError(400, "invalid_request", 900144, text)
        if unknown := scopes - _OPENID_SCOPES - {f"{self.api_id}/.default", f"api://{self.api_id}/.default"}:
            text = f"The provided value for the input parameter 'scope' is not valid: {', '.join(sorted(unknown))}."
            raise EntraError(400, "invalid_scope", 70011, text)
        return scopes


def _challenge(verifier: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")


def _registered_form(uri: str) -> str:
    """Returns how a redirect URI would have been registered: without a port, where it is a loopback address."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return ""
    if "@" in parts.netloc or parts.query or parts.fragment:
        return ""
    return f"{parts.scheme}://127.0.0.1{parts.path}" if parts.hostname == "127.0.0.1" else uri
