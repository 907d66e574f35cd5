"""An issuer as it describes itself, and how it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.errors import UnauthenticatedError, ValetKeyError
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.login_offer import is_https

# OpenID Connect Discovery 1.0, section 4.
_DISCOVERY = "/.well-known/openid-configuration"
_MOST_CHARACTERS = 300


class RefusedByIssuerError(UnauthenticatedError):
    """The issuer refused; `error` is the code of RFC 6749, such as `invalid_grant`."""

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where an issuer does what; empty where it does not. `names_itself` is for the answers to a browser (RFC 9207)."""

    issuer: str
    authorization: str
    token: str
    device: str
    revocation: str
    names_itself: bool


def discover(http: IssuerHttp, issuer: str) -> Issuer:
    """Returns what the issuer's own document says.

    Raises what `IssuerHttp.get` raises, and ValetKeyError for another issuer's document, and for one that cannot be
    used for log-ins.
    """
    document = http.get(issuer.removesuffix("/") + _DISCOVERY)
    if document.get("issuer") != issuer:
        raise ValetKeyError(
            f"the discovery document of {issuer} is another issuer's: {text(document.get('issuer'))}; "
            "expected the same, character by character"
        )
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise ValetKeyError(f"the issuer {issuer} does not support PKCE by S256; expected an issuer that does")
    found = {
        name: _endpoint(document, f"{name}_endpoint")
        for name in ("authorization", "token", "device_authorization", "revocation")
    }
    if not found["token"]:
        raise ValetKeyError(f"the discovery document of {issuer} has no https token_endpoint; nobody can log in there")
    return Issuer(
        issuer,
        found["authorization"],
        found["token"],
        found["device_authorization"],
        found["revocation"],
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def refusal(answer: Mapping[str, Any], doing: str, secrets: tuple[str, ...] = ()) -> RefusedByIssuerError:
    """Returns the error for an answer that is none; what it repeats of `secrets` is left out."""
    error, description = text(answer.get("error")), text(answer.get("error_description"))
    said = ": ".join(filter(None, (error, description))) or "no reason given"
    for secret in filter(None, secrets):
        said = said.replace(secret, "***")
    return RefusedByIssuerError(f"the issuer refused {doing}: {said}", error)


def text(value: object) -> str:
    """Returns what an issuer says, in one line and not too long, for people."""
    said = " ".join(value.split()) if isinstance(value, str) else ""
    return said if len(said) <= _MOST_CHARACTERS else said[:_MOST_CHARACTERS] + "…"


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    url = document.get(name)
    if url is None:
        return ""
    if not is_https(url):
        raise ValetKeyError(f"{name} of the issuer is {text(url) or 'no text'}; expected an https:// URL")
    return str(url)
