"""Settings of how callers prove who they are; what could let strangers in is refused at start."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from valetkey_broker.model import InvalidFieldError, Pattern, Role, check_name, principal_pattern, too_many, voucher
from valetkey_broker.model.spiffe import check_trust_domain
from valetkey_broker.settings.section import Seconds, Section, https_url, proxy_url

# Asymmetric only: with a shared secret, whoever can check a token can make one; and `none` is no signature at all.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
MAX_ISSUER_CHARACTERS = 200
_CLIENT_ID = re.compile(r"[!-~]{1,200}")
# RFC 6749, section 3.3: printable ASCII without blanks, quotes and backslashes.
_SCOPE = re.compile(r"[!#-\[\]-~]{1,200}")


class LoginSettings(Section):
    """How people log in at an issuer with `valetkey login`; told to everybody, so nothing in it is secret."""

    client_id: str
    scopes: tuple[str, ...] = Field(default=("openid", "offline_access"), min_length=1, max_length=20)
    # Some issuers (Auth0) choose the audience of a token by a parameter of that name, most by the scopes.
    send_audience: bool = False

    @field_validator("client_id")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not _CLIENT_ID.fullmatch(value):
            raise ValueError("must be the client id of a public client: 1 to 200 printable characters without blanks")
        return value

    @field_validator("scopes")
    @classmethod
    def _one_word_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for scope in value:
            if not _SCOPE.fullmatch(scope):
                raise ValueError(f"{scope!r} is no scope; expected one word each, such as openid")
        return value


class OidcSettings(Section):
    """One issuer of JWTs. Its keys come by discovery, from `jwks_uri`, or from `jwks_file`."""

    issuer: str
    audience: str = Field(default="", validate_default=True)
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    jwks_uri: str = ""
    jwks_file: Path | None = None
    ca_file: Path | None = None
    # What the broker shows when it asks for the keys; a Kubernetes API server wants that.
    bearer_token_file: Path | None = None
    proxy: str = ""
    leeway_seconds: float = Field(default=30.0, ge=0, le=300)
    max_lifetime_seconds: Seconds | None = None
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    # How old keys may get before they are asked for again, at most how often that is, and for how long they are
    # believed while the issuer is away.
    refresh_seconds: Seconds = 300.0
    min_refresh_seconds: Seconds = 10.0
    max_stale_seconds: Seconds = 3600.0
    timeout_seconds: Seconds = 5.0
    login: LoginSettings | None = None

    @field_validator("issuer")
    @classmethod
    def _exact(cls, value: str) -> str:
        # Compared as it stands: no slash is added or taken away. What a grant cannot write is of no use here.
        if not {"#", "*", " "}.isdisjoint(value) or len(value) > MAX_ISSUER_CHARACTERS:
            raise ValueError(f"must be at most {MAX_ISSUER_CHARACTERS} characters, without #, * and blanks")
        Pattern(f"oidc:{value}#subject", "issuer")
        return value

    @field_validator("audience")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is needed: without it a token made for any other service would be accepted")
        return value

    @field_validator("jwks_uri")
    @classmethod
    def _https_or_none(cls, value: str) -> str:
        if value:
            https_url(value)
        return value

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str) -> str:
        return proxy_url(value)

    @field_validator("attributes", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        # A plain string names one claim; dots in it are part of the name, as in Kubernetes' "kubernetes.io".
        return {name: (path,) if isinstance(path, str) else path for name, path in value.items()}

    @field_validator("attributes")
    @classmethod
    def _named(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, path in value.items():
            check_name("attribute", name)
            if not path or not all(path):
                raise ValueError(f"{name}: expected the name of a claim, or a list of names that lead to one")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.jwks_file and self.jwks_uri:
            raise ValueError("jwks_file and jwks_uri are both given; expected one, or none for discovery")
        if self.jwks_file and (self.ca_file or self.bearer_token_file or self.proxy):
            raise ValueError("ca_file, bearer_token_file and proxy have no use with jwks_file")
        if not (self.jwks_file or self.jwks_uri):
            try:
                https_url(self.issuer)
            except ValueError as error:
                raise ValueError(f"issuer: {error}; or say in jwks_uri or jwks_file where its keys are") from None
        if self.login is not None:
            try:
                https_url(self.issuer)
            except ValueError as error:
                raise ValueError(f"login: people log in at the issuer itself, and its URL {error}") from None
        if self.max_stale_seconds < self.refresh_seconds:
            raise ValueError("max_stale_seconds is under refresh_seconds")
        return self


class MtlsSettings(Section):
    """Client certificates with SPIFFE ids, on a port of their own (docs/adr/0005)."""

    port: int = Field(ge=1, le=65535)
    # Each trust domain with the CAs that may vouch for it, and for no other.
    trust_domains: dict[str, Path] = Field(min_length=1)

    @field_validator("trust_domains")
    @classmethod
    def _domains(cls, value: dict[str, Path]) -> dict[str, Path]:
        for name in value:
            check_trust_domain(name)
        return value


class RoleBinding(Section):
    """Gives a role to the principals that match one of the patterns."""

    role: Role
    principals: tuple[str, ...] = Field(min_length=1)

    @field_validator("principals")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                pattern = principal_pattern(text, "principals")
            except InvalidFieldError as error:
                raise ValueError(f"{error.problem}; expected {error.expected}") from None
            if whom := too_many(pattern):
                raise ValueError(f"{text!r} would give the role to {whom}; name them more closely")
        return value


class AuthnSettings(Section):
    """Who may call, besides the holders of API keys."""

    oidc: tuple[OidcSettings, ...] = ()
    mtls: MtlsSettings | None = None
    roles: tuple[RoleBinding, ...] = ()

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        issuers = [each.issuer for each in self.oidc]
        if len(set(issuers)) < len(issuers):
            raise ValueError("oidc: an issuer is given twice; expected each one once")
        return self

    def vouchers(self) -> frozenset[str]:
        """Returns whose word counts: `oidc:ISSUER` and `spiffe://TRUST-DOMAIN`, as principals begin with them."""
        domains = self.mtls.trust_domains if self.mtls is not None else ()
        return frozenset((*(f"oidc:{each.issuer}" for each in self.oidc), *(f"spiffe://{name}" for name in domains)))

    def warnings(self) -> list[str]:
        """Returns a sentence for each role that goes to people for whom nobody here can vouch."""
        return [
            f"authn.roles.{index}.principals: {text} can be nobody: no section here is for {by.removeprefix('oidc:')}; "
            "compare character by character, slashes at the end included"
            for index, binding in enumerate(self.roles)
            for text in binding.principals
            if (by := voucher(text)) and by not in self.vouchers()
        ]

    def files(self) -> dict[str, Path]:
        """Returns every file named here, by setting."""
        named: dict[str, Path | None] = {}
        for index, issuer in enumerate(self.oidc):
            named[f"authn.oidc.{index}.jwks_file"] = issuer.jwks_file
            named[f"authn.oidc.{index}.ca_file"] = issuer.ca_file
            named[f"authn.oidc.{index}.bearer_token_file"] = issuer.bearer_token_file
        if self.mtls is not None:
            named |= {f"authn.mtls.trust_domains.{name}": path for name, path in self.mtls.trust_domains.items()}
        return {setting: path for setting, path in named.items() if path is not None}
