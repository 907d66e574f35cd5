"""Starts the pods of a test's pipeline: processes with identities of their own, as a Kubernetes node starts them."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.forked import ForkedProcess
from support.zenml import ZenML

SCRIPTS = Path(__file__).parents[1] / "zenml" / "pods"


@dataclass
class Pod:
    """One that was started, with the environment it was given."""

    name: str
    process: ForkedProcess
    environment: Mapping[str, str]


@dataclass
class Node:
    """Starts pods. `identity` gives, for a pod's name, the environment that its identity is; `signals` is theirs."""

    zenml: ZenML
    directory: Path
    identity: Callable[[str], Mapping[str, str]]
    pods: list[Pod] = field(default_factory=list)

    @property
    def signals(self) -> Path:
        return self.directory / "signals"

    def signal(self, name: str) -> None:
        """Tells a pod that waits for it."""
        (self.signals / name).touch()

    def log(self, name: str) -> str:
        """Returns what the pods of that name have printed."""
        return (self.directory / f"{name}.log").read_text()

    def logs(self) -> str:
        """Returns what all pods have printed."""
        return "\n".join(f"--- {file.stem}\n{file.read_text()}" for file in sorted(self.directory.glob("*.log")))

    def pod(self, name: str) -> Pod:
        """Returns the latest pod of that name."""
        return [pod for pod in self.pods if pod.name == name][-1]

    def start(self, name: str, script: str, arguments: list[str], environment: Mapping[str, str]) -> Pod:
        """Starts one: with what its orchestrator gives it, and its identity."""
        given = {**self.zenml.environment, **environment, **self.identity(name), **self.own()}
        zenml = replace(self.zenml, environment=given)
        process = zenml.start(SCRIPTS / script, *arguments, output=self.directory / f"{name}.log")
        pod = Pod(name, process, zenml.variables())
        self.pods.append(pod)
        return pod

    def own(self) -> dict[str, str]:
        """Where pods find this."""
        return {"PODS_SOCKET": str(self.directory / "node.socket"), "PODS_SIGNALS": str(self.signals)}

    def serve(self, listening: socket.socket) -> None:
        """Starts what orchestrators ask for, and tells them how it ended."""
        while True:
            try:
                asked, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(asked,), daemon=True).start()

    def _answer(self, asked: socket.socket) -> None:
        with asked, asked.makefile("rw") as stream:
            wanted = json.loads(stream.readline())
            pod = self.start(wanted["name"], wanted["script"], wanted["arguments"], wanted["environment"])
            stream.write(json.dumps(pod.process.wait()) + "\n")


@contextmanager
def running_node(zenml: ZenML, directory: Path, identity: Callable[[str], Mapping[str, str]]) -> Iterator[Node]:
    """Starts pods until the block ends, and then ends those that still run."""
    node = Node(zenml, directory, identity)
    node.signals.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(node.own()["PODS_SOCKET"])
        listening.listen()
        thread = threading.Thread(target=node.serve, args=(listening,))
        thread.start()
        try:
            yield node
        finally:
            for pod in node.pods:
                pod.process.kill()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
