"""Settings of the user's own on top of a stack's: identities, roles, a ledger, limits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings import ENV_PREFIX, Settings, check_files, make_settings, read_values
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
class Additions:
    """What `file` says, with its files' paths made absolute, and the settings that a broker makes of it."""

    file: Path
    values: Mapping[str, Any]
    settings: Settings

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
            elsewhere = name == "ledger" and added.keys() & _LEDGER_PLACES
            merged[name] = added if elsewhere else {**own[name], **added}
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
        if self.values.get("ledger", {}).keys() & _LEDGER_PLACES:
            # Not the URL, which may hold a password.
            kind = self.settings.ledger.database_url().reveal().partition(":")[0].partition("+")[0]
            parts.append(f"the ledger on {'PostgreSQL' if kind == 'postgresql' else 'SQLite'}")
        others = [name for name in self.values if name not in ("authn", "ledger")]
        if others:
            parts.append(f"settings of {', '.join(others)}")
        return "; ".join(parts) or "nothing"


def read_additions(file: Path, broker_port: int, cloud: str) -> Additions:
    """Reads them. Paths in them that are relative start at `file`.

    Raises ConfigurationError, with a line for every problem, where it is missing, wrong, or says what is the stack's
    own to say: its place, its Vault and its cloud, which is called `cloud`.
    """
    values = read_values(file)
    if problems := [f"{file}: {problem}" for problem in _taken(values, cloud)]:
        raise ConfigurationError("\n".join(problems))
    own = _stand_ins(broker_port)
    files = make_settings(_with(own, values), file).files()
    ours = {name for name in files if name.startswith(("server.", "vault."))}
    values = _anchored(values, files.keys() - ours, file.absolute().parent)
    settings = make_settings(_with(own, values), file)
    _check(settings, file, ours)
    if values.get("logging", {}).get("level") in ("warning", "error"):
        # It is known by a line of its log that a worker serves.
        raise ConfigurationError(f"{file}: logging.level: hides when the broker is ready; expected debug or info")
    return Additions(file, values, settings)


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError where a variable would move a stack's broker to another place, Vault or cloud."""
    ours = ("server", "vault", "clouds", "default_cloud")
    found = sorted(
        name
        for name in environment
        if name.upper().startswith(ENV_PREFIX) and name[len(ENV_PREFIX) :].lower().partition("__")[0] in ours
    )
    if found:
        raise ConfigurationError(
            f"{', '.join(found)}: set in the environment, and would take the stack's broker elsewhere; unset it first"
        )


def _taken(values: Mapping[str, Any], cloud: str) -> list[str]:
    """Returns what is wrong with settings that are the stack's own."""
    found = {name: _EXPECTED for name in ("vault", "default_cloud") if name in values}
    server, clouds = values.get("server"), values.get("clouds")
    if isinstance(server, Mapping):
        found |= {f"server.{name}": why for name, why in _SERVER.items() if name in server}
    if isinstance(clouds, Mapping) and cloud in clouds:
        found[f"clouds.{cloud}"] = "choose another name"
    return [f"{name}: is the dev stack's own and cannot be set here; {why}" for name, why in found.items()]


def _check(settings: Settings, file: Path, ours: Collection[str]) -> None:
    check_files(settings, file, {name: path for name, path in settings.files().items() if name not in ours})
    if settings.authn.mtls is not None:
        try:
            TrustBundles(settings.authn.mtls.trust_domains)
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}: authn.mtls.trust_domains: {error}") from None


def _stand_ins(broker_port: int) -> dict[str, Any]:
    """Returns the least that a broker wants to know of what is not there before the stack has started."""
    nowhere = Path("/nonexistent")
    return {
        "server": {"port": broker_port, "tls_cert_file": nowhere, "tls_key_file": nowhere},
        "vault": {"address": f"https://{HOST}", "role_id_file": nowhere, "secret_id_file": nowhere},
    }


def _with(own: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    server = values.get("server", {})
    return {**own, **values, "server": {**own["server"], **server} if isinstance(server, Mapping) else server}


def _anchored(value: Any, files: Collection[str], base: Path, setting: str = "") -> Any:
    """Returns `value` with each setting in it that is one of `files` made absolute."""
    if isinstance(value, Mapping):
        return {key: _anchored(inner, files, base, f"{setting}.{key}".lstrip(".")) for key, inner in value.items()}
    if isinstance(value, list):
        return [_anchored(inner, files, base, f"{setting}.{index}") for index, inner in enumerate(value)]
    return str(base / value) if setting in files else value
