"""A dev stack that knows everybody, as a user starts one: `valetkey-broker dev --with FILE`.

Callers have Kubernetes-shaped tokens of an issuer over TLS, SPIFFE-shaped certificates, or API keys; the ledger is on
PostgreSQL. Driven with the command line alone.
"""

import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.cli_runner import Ran
from support.dev_command import Dev, dev
from support.e2e import CONNECTOR, DEMO, Cli, container, unique
from support.oidc import IssuerServer
from support.postgres import Postgres, running_postgres
from support.shielded_work import Background, in_background
from support.spiffe import DOMAIN, SpiffeCa, Svid
from support.token_commands import eventually, issue
from support.worker_news import wait_until_heard
from valetkey_devstack.free_ports import free_port

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

PARTNER = "partner.example"
# How old the issuer's keys get before they are asked for again.
REFRESH = 2.0
_SETTINGS = """
[[authn.oidc]]
issuer = "{issuer}"
audience = "valetkey"
ca_file = "issuer/ca.pem"
leeway_seconds = 1
refresh_seconds = {refresh}
min_refresh_seconds = 0.1
attributes = {{ namespace = ["kubernetes.io", "namespace"] }}

[authn.mtls]
port = {port}
trust_domains = {{ "{domain}" = "bundle.pem", "{partner}" = "partner.pem" }}

[[authn.roles]]
role = "operator"
principals = ["oidc:{issuer}#system:serviceaccount:ops:*"]

[[authn.roles]]
role = "auditor"
principals = ["oidc:{issuer}#system:serviceaccount:audit:*"]

[ledger]
url_file = "ledger-url"
timeout_seconds = 2

[limits]
failed_authentication_burst = 1000
"""


@dataclass(frozen=True)
class Outside:
    """What is not the stack's: the issuer, and the server with the ledger's database."""

    issuer: IssuerServer
    postgres: Postgres


@dataclass(frozen=True)
class IdentityStack:
    """The running stack. `shown` collects every secret that a caller presented."""

    dev: Dev
    outside: Background[Outside]
    folder: Path
    certificate_port: int
    admin: Cli
    ca: SpiffeCa
    partner_ca: SpiffeCa
    shown: list[str] = field(default_factory=list)
    _changes: list[float] = field(default_factory=list)
    _files: Iterator[int] = field(default_factory=itertools.count)

    @property
    def issuer(self) -> IssuerServer:
        return self.outside.value.issuer

    @property
    def log(self) -> str:
        """What the broker has logged."""
        return (self.dev.directory / "logs" / "broker.log").read_text()

    def subject(self, namespace: str, name: str) -> str:
        """Returns the principal that a pod's token makes."""
        return f"oidc:{self.issuer.url}#system:serviceaccount:{namespace}:{name}"

    def claims(self, namespace: str, name: str) -> dict[str, Any]:
        """Returns the claims that tell a pod's token from others."""
        of_kubernetes = {"namespace": namespace, "serviceaccount": {"name": name}}
        return {"sub": f"system:serviceaccount:{namespace}:{name}", "kubernetes.io": of_kubernetes}

    def pod(self, namespace: str = "ml", name: str = "trainer", **claims: Any) -> Cli:
        """Returns the command line in a pod, with its projected token."""
        return self.bearer(self.issuer.mint(**{**self.claims(namespace, name), **claims}))

    def bearer(self, token: str) -> Cli:
        """Returns the command line of whoever holds a token."""
        return self._caller(VALETKEY_TOKEN_FILE=self._written("token", token))

    def workload(self, svid: Svid) -> Cli:
        """Returns the command line of a workload with its certificate, on the port for these."""
        endpoint = f"127.0.0.1:{self.certificate_port}"
        chain, key = self._written("pem", svid.chain.decode()), self._written("key", svid.key.decode())
        self.shown.append("".join(svid.key.decode().splitlines()[1:2]))
        return self._caller(VALETKEY_ENDPOINT=endpoint, VALETKEY_CLIENT_CERT_FILE=chain, VALETKEY_CLIENT_KEY_FILE=key)

    def new_key(self, *options: str) -> tuple[str, Cli]:
        """Makes an API key; returns its name, and the command line of its holder."""
        name = unique("key")
        secret = self.change("api-key", "create", name, *options, "-o", "json").json["api_key"]
        return name, self._caller(VALETKEY_API_KEY_FILE=self._written("key", secret))

    def grant(self, principal: str, *options: str, connector: str = CONNECTOR, on: str = DEMO) -> str:
        """Grants a container, with the options that say what; returns the grant's name."""
        name = unique("grant")
        self.change(
            *("grant", "create", name, "--principal", principal, "--connector", connector),
            *("--container", on.removeprefix("az://"), *options),
        )
        return name

    def register(self, by: Cli, name: str, *more: str) -> Ran:
        """Registers the stack's service principal, for all that it reaches."""
        principal = next(line.split()[:4] for line in self.dev.out.splitlines() if line.startswith("  --tenant-id"))
        secret = self.dev.directory / "keys" / "client-secret"
        return by("service-connector", "register", name, *principal, "--client-secret", f"@{secret}", *more)

    def change(self, *command: str, by: Cli | None = None) -> Ran:
        """Runs a command that changes something; the admin's, if nobody is named."""
        ran = eventually(lambda: (by or self.admin)(*command))
        self._changes.append(time.monotonic())
        return ran

    def settle(self) -> None:
        """Waits until every worker has heard of the latest change."""
        if self._changes:
            wait_until_heard(self.dev.directory / "broker.toml", self._changes[-1])
            self._changes.clear()

    def issued(self, by: Cli, *options: str, on: str = DEMO, permissions: str = "read,list") -> dict[str, Any]:
        """Issues a token to somebody who may have it, once every worker knows that: else what a test does next may
        reach the one that does not.
        """
        self.settle()
        token: dict[str, Any] = eventually(lambda: issue(by, *options, on=on, permissions=permissions)).json
        self.shown.append(token["sas_token"].rpartition("sig=")[2])
        return token

    def storage(self, token: dict[str, Any]) -> "ContainerClient":
        """Returns a token's container as azure-storage-blob sees it."""
        return container(token["sas_url"], Path(self.admin.environment["VALETKEY_CA_FILE"]))

    def events(self, *options: str) -> list[dict[str, Any]]:
        """Returns records of the ledger, as an auditor sees them."""
        found: list[dict[str, Any]] = (
            self.auditor().done(*("audit", "search", "--limit", "10000", *options, "-o", "json")).json
        )
        return found

    def auditor(self) -> Cli:
        return self.pod("audit", "reader")

    def sql(self, text: str) -> str:
        """Runs SQL on the ledger's database, as nobody should."""
        return self.outside.call(self.outside.value.postgres.run(text))

    def _caller(self, **identity: str) -> Cli:
        common = {name: self.admin.environment[name] for name in ("VALETKEY_ENDPOINT", "VALETKEY_CA_FILE", "HOME")}
        return Cli({**common, **identity})

    def _written(self, kind: str, text: str) -> str:
        file = self.folder / f"caller-{next(self._files)}.{kind}"
        file.write_text(text)
        file.chmod(0o600)
        if kind == "token" or text.startswith("vk_"):
            self.shown.append(text)
        return str(file)


@contextmanager
def identity_stack(folder: Path, workers: int = 2) -> Iterator[IdentityStack]:
    """Runs everything in `folder`."""
    ca, partner_ca, port = SpiffeCa(), SpiffeCa(PARTNER), free_port()
    with in_background(_outside(folder), "outside") as outside:
        issuer, postgres = outside.value.issuer, outside.value.postgres
        (folder / "bundle.pem").write_bytes(ca.pem)
        (folder / "partner.pem").write_bytes(partner_ca.pem)
        (folder / "ledger-url").write_text(postgres.url())
        settings = folder / "identities.toml"
        settings.write_text(
            _SETTINGS.format(issuer=issuer.url, port=port, domain=DOMAIN, partner=PARTNER, refresh=REFRESH)
        )
        with dev(folder / "stack", "--with", str(settings), "--workers", str(workers)) as running:
            running.wait_until_ready()
            admin = Cli(running.cli().environment)
            yield IdentityStack(running, outside, folder, port, admin, ca, partner_ca)


@asynccontextmanager
async def _outside(folder: Path) -> AsyncIterator[Outside]:
    async with IssuerServer(folder / "issuer").running() as issuer, running_postgres() as postgres:
        yield Outside(issuer, postgres)
