"""ZenML with our client beside it, in an environment of its own: its command and its processes, as users start them."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from support.children import unmeasured
from support.cli_runner import Ran
from support.e2e import user_environment
from support.forked import ForkedProcess
from support.warm import WarmCommand, run_installed

BIN = Path(__file__).parents[2] / ".venv-zenml" / "bin"
_LINES = Path(__file__).parents[1] / "zenml" / "pods" / "lines.py"
# ZenML reads these when it is imported. It takes ten seconds of a processor for that, so its processes are forked from
# one that has it loaded.
_ALWAYS = {
    "ZENML_ANALYTICS_OPT_IN": "false",
    "ZENML_ENABLE_RICH_TRACEBACK": "false",
    "ZENML_LOGGING_COLORS_DISABLED": "true",
    "NO_COLOR": "1",
    # Tables are cut to the terminal's width.
    "COLUMNS": "300",
    "GRPC_VERBOSITY": "NONE",
}
_MODULES = (
    *("zenml.cli.cli", "zenml.zen_stores.sql_zen_store", "zenml.stack.flavor_registry", "zenml.pipelines"),
    *(
        "zenml.entrypoints.step_entrypoint_configuration",
        "zenml.orchestrators.step_launcher",
        "zenml.execution.step.utils",
    ),
    *(
        "zenml.log_stores.artifact.artifact_log_exporter",
        "zenml.annotators",
        "zenml.model_deployers",
        "zenml.sandboxes",
    ),
    *("zenml.container_registries", "zenml.image_builders", "zenml.data_validators", "zenml.feature_stores"),
    *("pyarrow.parquet", "adlfs", "azure.storage.blob.aio", "valetkey.zenml.artifact_store", "valetkey.fsspec"),
)


def warm_zenml(*modules: str, **environment: str) -> WarmCommand:
    """Returns what ZenML's processes are forked from, with further modules; `environment` is for what those read."""
    python = BIN / "python"
    return WarmCommand("support.zenml_command:main", *_MODULES, *modules, python=python, **_ALWAYS, **environment)


WARM_ZENML = warm_zenml()


@dataclass(frozen=True)
class Answers:
    """What was said to lines that were typed, by their names, and the exit code of each."""

    said: dict[str, str]
    codes: dict[str, int]


@dataclass(frozen=True)
class ZenML:
    """ZenML as one user has it: all that it keeps is in `directory`; `environment` is what the user has exported."""

    directory: Path
    environment: Mapping[str, str]
    warm: WarmCommand = WARM_ZENML

    def having(self, **variables: str) -> "ZenML":
        """Returns it with other variables; "" leaves one out."""
        merged = {**self.environment, **variables}
        return replace(self, environment={name: value for name, value in merged.items() if value})

    def variables(self) -> dict[str, str]:
        """Returns the whole environment of its processes: nothing of a home directory, nothing sent anywhere."""
        given = {
            **_ALWAYS,
            "HOME": str(self.directory),
            "ZENML_CONFIG_PATH": str(self.directory / "zenml"),
            **self.environment,
        }
        azure = [name for name in user_environment() if name.startswith("AZURE_")]
        return unmeasured({name: value for name, value in user_environment(given).items() if name not in azure})

    def __call__(self, *arguments: str | Path, installed: bool = False) -> Ran:
        """Runs a `zenml` command line; `installed` starts it as a user does, which takes its ten seconds."""
        runner = run_installed if installed else self.warm.run
        return _ran(runner([BIN / "zenml", *arguments], environment=self.variables(), patience=280))

    def done(self, *arguments: str | Path, installed: bool = False) -> Ran:
        """Runs one that has to succeed."""
        ran = self(*arguments, installed=installed)
        assert ran.code == 0, f"zenml {' '.join(map(str, arguments))}: {ran}"
        return ran

    def typed(self, lines: Mapping[str, Sequence[str]], answers: Path) -> Answers:
        """Types `zenml` lines in one process; `answers` is a file for it to write. Lines may end as they like."""
        ran = self.run(_LINES, json.dumps(list(lines.values())), str(answers))
        assert ran.code == 0, ran
        ends = dict(zip(lines, json.loads(answers.read_text()), strict=True))
        # ZenML breaks its lines.
        said = {name: " ".join(words.split()) for name, (_, words) in ends.items()}
        return Answers(said, {name: code for name, (code, _) in ends.items()})

    def run(self, script: Path, *arguments: str) -> Ran:
        """Runs a script."""
        return _ran(self.warm.run([script, *arguments], environment=self.variables(), patience=280))

    def start(self, script: Path, *arguments: str, output: Path) -> ForkedProcess:
        """Starts a script whose words go to a file."""
        with output.open("ab") as out, Path("/dev/null").open("rb") as nothing:
            files = (nothing.fileno(), out.fileno(), out.fileno())
            return self.warm.start([script, *arguments], environment=self.variables(), files=files)


def _ran(done: "subprocess.CompletedProcess[str]") -> Ran:
    return Ran(done.returncode, done.stdout, done.stderr)
