"""The line of ZenML's that does what somebody typed with `valetkey`, with our flavor in the place of the azure one."""

import shlex
from collections.abc import Iterator, Sequence

FLAVOR_LINE = "zenml artifact-store flavor register valetkey.zenml.flavor.ValetKeyArtifactStoreFlavor"
CONNECTOR_LINE = (
    "zenml service-connector register NAME --type valetkey --auth-method identity --endpoint=HOST:PORT "
    "--resource-type blob-container"
)
# What is said again to the terminal: names, places and marks. Never what could be a secret in the wrong place.
_WITH_VALUE = {
    **{name: name for name in ("--path", "--connector", "--resource-id")},
    "-c": "--connector",
    **dict.fromkeys(("-a", "--artifact_store", "--artifact-store"), "-a"),
    **dict.fromkeys(("-o", "--orchestrator"), "-o"),
    **dict.fromkeys(("-s", "--step_operator", "--step-operator"), "-s"),
    **dict.fromkeys(("-d", "--model_deployer", "--model-deployer"), "-d"),
}
_MARKS = ("--set", "-i", "--interactive")
_OF_OTHERS = {"-f": "-f valetkey", "--flavor": "-f valetkey"}


def zenml_line(arguments: Sequence[str], group: str, command: str) -> str:
    """Returns the line for `artifact-store register` and its like, of what in `arguments` is known to be no secret.

    `group` and `command` are the words that it begins with, as the line has them.
    """
    rest = [argument for argument in arguments if argument.replace("_", "-").lower() not in (group, command)]
    parts = list(_parts(rest))
    names = [part for part in parts if not part.startswith("-")]
    options = [part for part in parts if part.startswith("-")]
    return " ".join(["zenml", group, command, *names[:1], *options])


def _parts(rest: Sequence[str]) -> Iterator[str]:
    words = iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            yield shlex.quote(word)
        elif name in _MARKS:
            yield name
        elif name in _WITH_VALUE or name in _OF_OTHERS:
            value = value if equals else next(words, "")
            known = _WITH_VALUE.get(name)
            joint = "=" if known and known.startswith("--") else " "
            yield f"{known}{joint}{shlex.quote(value)}" if known else _OF_OTHERS[name]
        elif not equals:
            next(words, "")  # An option of which nothing is known may have a value; neither is said again.
