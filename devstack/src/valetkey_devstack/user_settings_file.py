"""Settings of the user's own on top of a stack's: identities, roles, a ledger, limits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valetkey_broker.adapters.oidc.issuer_document import read_object
from valetkey_broker.authn.jwks import read_jwks
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.ports import KeySourceError
from valetkey_broker.settings import ENV_PREFIX, OidcSettings, Settings, check_files, make_settings, read_values
from valetkey_devstack.free_ports import HOST

_EXPECTED = "expected settings such as authn, issuing, ledger, limits, logging"
# What the stack says itself, and how else it can be told, if at all.
_SERVER = {
    "host": "a stack is on loopback only",
    "port": "use --port",
    "tls_cert_file": "its own CA makes it",
    "tls_key_file": "its own CA makes it",
    "workers": "use --workers",
}
_LEDGER_PLACES = {"url", "url_file"}


@dataclass(frozen=True, slots=True)
class ExtraSettings:
    """What `file` says, with its files' paths made absolute, and the settings that a broker makes of it."""

    file: Path
    values: Mapping[str, Any]
    settings: Settings

    @property
    def has_ledger(self) -> bool:
        """Whether the ledger is elsewhere than in the stack's directory."""
        return bool(self.values.get("ledger", {}).keys() & _LEDGER_PLACES)

    @property
    def certificate_port(self) -> int | None:
        """The port for client certificates, None without one."""
        mtls = self.settings.authn.mtls
        return mtls.port if mtls is not None else None

    def on_top_of(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings of a stack with these added; a ledger with a place takes the place of the stack's."""
        merged = {**own, **{name: value for name, value in self.values.items() if name not in own}}
        for name in own.keys() & self.values.keys():
            added = self.values[name]
            replaces = name == "ledger" and self.has_ledger
            merged[name] = added if replaces else {**own[name], **added}
        # Issuers and roles come on top of the stack's own.
        for name in own.get("authn", {}).keys() & self.values.get("authn", {}).keys():
            merged["authn"][name] = [*own["authn"][name], *self.values["authn"][name]]
        return merged

    def summary(self) -> str:
        """Returns in a line or two what was added, without any secret."""
        authn, added = self.settings.authn, self.values.get("authn", {})
        parts = [f"tokens of {each.issuer} for {each.audience}" for each in authn.oidc if "oidc" in added]
        if authn.mtls is not None and "mtls" in added:
            domains = ", ".join(f"spiffe://{name}" for name in sorted(authn.mtls.trust_domains))
            parts.append(f"client certificates of {domains} at {HOST}:{authn.mtls.port}")
        if "roles" in added:
            parts.append(f"roles {', '.join(dict.fromkeys(each.role.value for each in authn.roles))}")
        if self.has_ledger:
            # Not the URL, which may hold a password.
            kind = self.settings.ledger.database_url().reveal().partition(":")[0].partition("+")[0]
            parts.append(f"the ledger on {'PostgreSQL' if kind == 'postgresql' else 'SQLite'}")
        others = [name for name in self.values if name not in ("authn", "ledger")]
        if others:
            parts.append(f"settings of {', '.join(others)}")
        return "; ".join(parts) or "nothing"

    async def check_ledger(self) -> None:
        """Opens a ledger that is elsewhere, as the broker will; that makes its tables.

        Raises ConfigurationError where nothing could be recorded there: the broker would wait for it and serve nobody.
        """
        if not self.has_ledger:
            return
        try:
            ledger = SqlLedger(self.settings.ledger)
            try:
                await ledger.open()
                answers = ledger.healthy()
            finally:
                await ledger.close()
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.file}: {error}") from None
        if not answers:
            raise ConfigurationError(
                f"{self.file}: ledger: its database does not answer; start it, or correct its address"
            )


def read_extra_settings(file: Path, broker_port: int, cloud: str) -> ExtraSettings:
    """Reads them. Paths in them that are relative start at `file`.

    Raises ConfigurationError, with a line for every error, where it is missing, wrong, or says what is the stack's
    own to say: its place, its Vault and its cloud, which is called `cloud`.
    """
    values = read_values(file)
    if errors := [f"{file}: {error}" for error in _reserved_errors(values, cloud)]:
        raise ConfigurationError("\n".join(errors))
    own = _placeholders(broker_port)
    files = make_settings(_merged(own, values), file).files()
    own_files = {name for name in files if name.startswith(("server.", "vault."))}
    values = _with_absolute_paths(values, files.keys() - own_files, file.absolute().parent)
    settings = make_settings(_merged(own, values), file)
    _check_files(settings, file, own_files)
    _check_keys(file, settings.authn.oidc)
    if values.get("logging", {}).get("level") in ("warning", "error"):
        # A line of its log tells that a worker serves.
        raise ConfigurationError(f"{file}: logging.level: hides when the broker is ready; expected debug or info")
    return ExtraSettings(file, values, settings)


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError where a variable would move a stack's broker to another place, Vault or cloud."""
    reserved = ("server", "vault", "clouds", "default_cloud")
    found = sorted(
        name
        for name in environment
        if name.upper().startswith(ENV_PREFIX) and name[len(ENV_PREFIX) :].lower().partition("__")[0] in reserved
    )
    if found:
        raise ConfigurationError(
            f"{', '.join(found)}: set in the environment, and would take the stack's broker elsewhere; unset it first"
        )


def _reserved_errors(values: Mapping[str, Any], cloud: str) -> list[str]:
    """Returns what is wrong with settings that are the stack's own."""
    found = {name: _EXPECTED for name in ("vault", "default_cloud") if name in values}
    server, clouds = values.get("server"), values.get("clouds")
    if isinstance(server, Mapping):
        found |= {f"server.{name}": why for name, why in _SERVER.items() if name in server}
    if isinstance(clouds, Mapping) and cloud in clouds:
        found[f"clouds.{cloud}"] = "choose another name"
    return [f"{name}: is the dev stack's own and cannot be set here; {why}" for name, why in found.items()]


def _check_files(settings: Settings, file: Path, own_files: Collection[str]) -> None:
    check_files(settings, file, {name: path for name, path in settings.files().items() if name not in own_files})
    if settings.authn.mtls is not None:
        try:
            TrustBundles(settings.authn.mtls.trust_domains)
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}: authn.mtls.trust_domains: {error}") from None


def _check_keys(file: Path, issuers: Iterable[OidcSettings]) -> None:
    for index, issuer in enumerate(issuers):
        if issuer.jwks_file is None:
            continue
        try:
            usable = read_jwks(read_object(issuer.jwks_file.read_bytes(), str(issuer.jwks_file)))
        except KeySourceError as error:
            raise ConfigurationError(f"{file}: authn.oidc.{index}.jwks_file: {error}") from None
        if not usable:
            raise ConfigurationError(
                f"{file}: authn.oidc.{index}.jwks_file: {issuer.jwks_file} holds no key that a token can be checked "
                "with; expected public keys, each with a kid"
            )


def _placeholders(broker_port: int) -> dict[str, Any]:
    """Returns the least that a broker wants to know of what is not there before the stack has started."""
    nowhere = Path("/nonexistent")
    return {
        "server": {"port": broker_port, "tls_cert_file": nowhere, "tls_key_file": nowhere},
        "vault": {"address": f"https://{HOST}", "role_id_file": nowhere, "secret_id_file": nowhere},
    }


def _merged(own: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    server = values.get("server", {})
    return {**own, **values, "server": {**own["server"], **server} if isinstance(server, Mapping) else server}


def _with_absolute_paths(value: Any, files: Collection[str], base: Path, setting: str = "") -> Any:
    """Returns `value` with each setting in it that is one of `files` made absolute."""
    if isinstance(value, Mapping):
        return {
            key: _with_absolute_paths(inner, files, base, f"{setting}.{key}".lstrip("."))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_with_absolute_paths(inner, files, base, f"{setting}.{index}") for index, inner in enumerate(value)]
    return str(base / value) if setting in files else value
