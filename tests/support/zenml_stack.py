"""A whole stack for pipelines of ZenML: broker, storage behind a proxy that records, and an issuer of pods' tokens."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.e2e import CONNECTOR, DEMO, Cli, container, unique
from support.oidc import IssuerServer
from support.pods import SCRIPTS
from support.recording_proxy import Recording, RecordingProxy
from support.shielded_work import in_background
from support.stack import RunningStack, running_stack
from support.warm import WarmCommand
from support.zenml import WARM_ZENML, ZenML

if TYPE_CHECKING:
    from valetkey_devstack.child_process import Child
    from valetkey_devstack.stack import DevStack

_SETTINGS = """
[[authn.oidc]]
issuer = "{issuer}"
audience = "valetkey"
ca_file = "issuer/ca.pem"
"""
STORE = f"{DEMO}/zen"
FLAVOR = "valetkey.zenml.flavor.ValetKeyArtifactStoreFlavor"
# Not the one whose key everybody knows.
DEMO_ACCOUNTS = ("demomlstorage", "demologs")


@dataclass
class ZenMLStack:
    """The running stack. `secrets` are the files with what proves the service principal."""

    running: RunningStack
    issuer: IssuerServer
    proxy: RecordingProxy
    admin: Cli
    folder: Path
    secret_files: Any
    broker: "Child"
    warm: WarmCommand = WARM_ZENML
    _made: dict[str, Path] = field(default_factory=dict)

    @property
    def stack(self) -> "DevStack":
        return self.running.stack

    @property
    def recording(self) -> Recording:
        return self.proxy.recording

    @property
    def way(self) -> dict[str, str]:
        """Where the broker is, as the environment says it."""
        return {name: self.admin.environment[name] for name in ("VALETKEY_ENDPOINT", "VALETKEY_CA_FILE")}

    def principal(self, account: str) -> str:
        """Returns the principal that a pod's token makes; `account` is its service account."""
        return f"oidc:{self.issuer.url}#system:serviceaccount:ml:{account}"

    def identity(self, account: str) -> dict[str, str]:
        """Returns the environment of a pod: the file with its projected token, and nothing else."""
        file = self.folder / f"{account}.token"
        kubernetes = {"namespace": "ml", "serviceaccount": {"name": account}}
        token = self.issuer.mint(**{"sub": f"system:serviceaccount:ml:{account}", "kubernetes.io": kubernetes})
        file.write_text(token)
        file.chmod(0o600)
        return {"VALETKEY_TOKEN_FILE": str(file)}

    def grant(self, account: str, *options: str, ttl: str = "20s") -> str:
        """Grants the demo container to a service account; returns the grant's name."""
        name = unique("grant")
        self.admin.done(
            *("grant", "create", name, "--principal", self.principal(account), "--connector", CONNECTOR),
            *("--container", DEMO.removeprefix("az://"), "--max-ttl", ttl, *options),
        )
        return name

    def leases(self, account: str) -> list[dict[str, Any]]:
        """Returns the ledger's records of tokens that an account got."""
        ran = self.admin.done(
            *("audit", "search", "--kind", "token-issued", "--principal", self.principal(account)),
            *("--limit", "1000", "-o", "json"),
        )
        found: list[dict[str, Any]] = json.loads(ran.out)
        return found

    def second_secret(self) -> Path:
        """Makes the service principal another secret to rotate to; returns its file."""
        from valetkey_devstack.demo_data import add_second_secret

        add_second_secret(self.stack, self.secret_files)
        file: Path = self.secret_files.second_client_secret
        return file

    def secrets(self) -> dict[str, str]:
        """Returns what proves the service principal, and the accounts' keys."""
        files = (self.secret_files.client_secret, self.secret_files.second_client_secret)
        found = {file.name: file.read_text().strip() for file in files if file.exists()}
        return found | {name: self.stack.azurite.accounts[name].reveal() for name in DEMO_ACCOUNTS}

    def blobs(self) -> bytes:
        """Returns all that storage has on its disk, and what it keeps of each blob."""
        files = self.stack.azurite.directory.rglob("*")
        return b"".join(file.read_bytes() for file in files if file.is_file() and file.suffix != ".new")

    def names(self, prefix: str) -> list[str]:
        """Returns the names of the blobs below a prefix."""
        token = self.admin.done(
            *("token", "issue", "--resource", DEMO, "--permissions", "read,list", "-o", "json")
        ).json
        return list(container(token["sas_url"], self.stack.ca_file).list_blob_names(name_starts_with=prefix))

    def new_user(self, **environment: str) -> ZenML:
        """Returns ZenML as a user has it who has just installed it; its database is its own."""
        if "blank" not in self._made:
            self._made["blank"] = self.folder / "blank"
            self._made["blank"].mkdir()
            ZenML(self._made["blank"], {}, self.warm).done("stack", "list")  # The first command makes the database.
        return self._copy("blank", **environment)

    def user(self, **environment: str) -> ZenML:
        """Returns ZenML as a user has it who has registered the stack that pods run on; its database is its own."""
        if "registered" not in self._made:
            zenml = self.new_user(PYTHONPATH=str(SCRIPTS))
            self._register(zenml)
            self._made["registered"] = zenml.directory
        return self._copy("registered", PYTHONPATH=str(SCRIPTS), **environment)

    def _copy(self, made: str, **environment: str) -> ZenML:
        """Returns a user with a copy of what was made once: making it takes ZenML seconds of a processor."""
        source, directory = self._made[made], self.folder / unique("user")
        shutil.copytree(source, directory)
        # It says where the database is.
        configuration = directory / "zenml" / "config.yaml"
        configuration.write_text(configuration.read_text().replace(f"{source}/", f"{directory}/"))
        # To look whether there is something to migrate takes each process half a second.
        return ZenML(directory, {"DISABLE_DATABASE_MIGRATION": "true", **environment}, self.warm)

    def _register(self, zenml: ZenML) -> None:
        """Registers flavors, components and the stack."""
        way = (word for name, value in self.way.items() for word in ("--env", f"{name}={value}"))
        register_stack(
            zenml,
            ("artifact-store", "flavor", "register", FLAVOR),
            (
                *("artifact-store", "register", "az_store", "-f", "valetkey", f"--path={STORE}"),
                *(f"--storage_ca_file={self.stack.ca_file}", *way),
            ),
        )

    def stop_broker(self) -> None:
        self.running.call(self.broker.stop(grace=15))

    def start_broker(self) -> None:
        from valetkey_devstack.broker_process import start_broker

        self.broker = self.running.call(start_broker(self.stack))


def register_stack(zenml: ZenML, *store: Sequence[str]) -> None:
    """Registers a stack that runs on pods with ZenML's own commands; `store` are those for its store `az_store`."""
    orchestrator = (
        ("orchestrator", "flavor", "register", "pods_orchestrator.PodsOrchestratorFlavor"),
        ("orchestrator", "register", "pods", "-f", "pods"),
        ("stack", "register", "remote", "-a", "az_store", "-o", "pods", "--set"),
    )
    lines = {" ".join(line): line for line in (*store, *orchestrator)}
    answers = zenml.typed(lines, zenml.directory / "answers.json")
    assert not any(answers.codes.values()), answers


@contextmanager
def zenml_stack(folder: Path) -> Iterator[ZenMLStack]:
    """Runs everything in `folder`."""
    # Late: unit tests do not need these, and they take a while to load.
    from valetkey_devstack.broker_process import start_broker
    from valetkey_devstack.demo_data import add_demo_data

    issuer = IssuerServer(folder / "issuer")
    settings = folder / "pods.toml"
    settings.write_text(_SETTINGS.format(issuer=issuer.url))
    with in_background(issuer.running(), "issuer"), running_stack(folder / "stack", extra_settings=settings) as running:
        stack = running.stack
        target = f"https://127.0.0.1:{stack.azurite.port}"
        tls = stack.ca.issue("recording", stack.layout.tls)
        with in_background(RecordingProxy(target, stack.ca_file, *tls), "recording") as proxy:
            text = stack.settings_file.read_text()
            assert target in text
            stack.settings_file.write_text(text.replace(target, proxy.value.url))
            files = running.call(add_demo_data(stack))
            admin = Cli(
                {
                    "VALETKEY_ENDPOINT": f"127.0.0.1:{stack.ports.broker}",
                    "VALETKEY_CA_FILE": str(stack.ca_file),
                    "VALETKEY_API_KEY_FILE": str(files.admin_key),
                    "HOME": str(folder),
                }
            )
            broker = running.call(start_broker(stack))
            made = ZenMLStack(running, issuer, proxy.value, admin, folder, files, broker)
            try:
                yield made
            finally:
                made.stop_broker()
