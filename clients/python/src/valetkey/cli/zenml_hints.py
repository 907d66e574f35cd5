"""What ZenML's fingers type, and what to type here. ZenML's own commands go on managing ZenML's own things."""

from collections.abc import Sequence

from valetkey.cli.zenml_equivalents import CONNECTOR_LINE, FLAVOR_LINE, zenml_line
from valetkey.enums_and_times import NEVER_AUTH_METHODS

_REGISTER = (
    "valetkey service-connector register NAME --auth-method service-principal --tenant-id … --client-id … "
    "--client-secret @FILE [--resource-id az://CONTAINER]"
)
_TOKEN = "valetkey token issue --resource az://CONTAINER --permissions read,list"  # noqa: S105 (a command)
_STACK_COMPONENT = (
    "Valet Key keeps no stacks and no components: register them with zenml; a component gets what it may have with: "
    "valetkey grant create NAME --principal … --connector … --container … --role "
)
_DOCS = "all of it side by side: docs/zenml.md"
_ARTIFACT_STORE = 'type: {line} (once before: pip install "valetkey[zenml]" and ' + FLAVOR_LINE + "); " + _DOCS
_BY_SECRET = "a store keeps no secret, it gets a connector: " + CONNECTOR_LINE + "; then type: {line}; " + _DOCS
_TYPE = "type: {line}; " + _DOCS
_NO_VALUE = (
    "no call gives a value back, to nobody: the broker uses it, and hands out short-lived tokens; see its kind, age "
    "and who uses it with: valetkey secret describe NAME; give it another value with: valetkey secret update NAME"
)
_SERVER = (
    "each call says who you are; set VALETKEY_ENDPOINT (HOST:PORT), VALETKEY_CA_FILE and one of VALETKEY_API_KEY, "
    "VALETKEY_TOKEN_FILE, VALETKEY_CLIENT_CERT_FILE, or log in as yourself with: valetkey login, and out with: "
    "valetkey logout"
)
_RENAME = (
    "a connector keeps its name, which grants and the ledger know it by; note another one down with: "
    "valetkey service-connector update NAME --description …"
)

# Of a group: what is said to each of its words, and to its own name.
_GROUPS = {
    "artifact-store": _TYPE,
    "stack": _TYPE,
    "orchestrator": _STACK_COMPONENT + "orchestrator",
    "step-operator": _STACK_COMPONENT + "step-operator",
    "model-deployer": _STACK_COMPONENT + "deployer",
    "integration": 'there is nothing to install but the client: pip install "valetkey[cli]"; beside ZenML: '
    'pip install "valetkey[zenml]"',
    "login": _SERVER,
    "connect": _SERVER,
    "disconnect": _SERVER,
    "init": _SERVER,
    "status": "see whether the broker answers, and what you may use, with: valetkey service-connector list-resources",
}
_COMMANDS = {
    ("artifact-store", "register"): _ARTIFACT_STORE,
    **{
        ("artifact-store", command): "type: zenml artifact-store "
        + command
        + "; see which containers you may use with: valetkey service-connector list-resources"
        for command in ("list", "describe")
    },
    ("service-connector", "rename"): _RENAME,
    ("service-connector", "get"): "look at one with: valetkey service-connector describe NAME",
    ("service-connector", "remove"): "delete one with: valetkey service-connector delete NAME",
    ("service-connector", "login"): (
        "the credential never leaves the broker; get a short-lived token with: " + _TOKEN + " -o env"
    ),
    ("service-connector", "connect"): "let somebody use a connector with: valetkey grant create NAME --principal …",
    ("secret", "get"): _NO_VALUE,
    ("secret", "export"): _NO_VALUE,
    ("secret", "register"): "store one with: valetkey secret create NAME …",
    ("secret", "remove"): "delete one with: valetkey secret delete NAME",
    ("secret", "backup"): "secrets lie in Vault; back that up with its own means",
    ("secret", "restore"): "secrets lie in Vault; restore that with its own means",
}
_OPTIONS = {
    "--expiration-seconds": "how long tokens live, a grant says: valetkey grant create … --max-ttl 1h",
    "--populate": "a connector is always made from what its options say; leave it out",
}
_AUTH_METHODS = {
    **{method: f"{why}; give a credential that lasts: " for method, why in NEVER_AUTH_METHODS.items()},
    "service-account": "that is another cloud's; for Azure, type: ",
}


def zenml_hint(arguments: Sequence[str], words: Sequence[str]) -> str:
    """Returns what to type instead of a command line that is not ours, empty where nothing is known.

    `words` are the command's words, such as `service-connector`, `register`; `arguments` the whole line.
    """
    first, second = (*words, "", "")[:2]
    if found := _COMMANDS.get((first, second)) or _GROUPS.get(first):
        return _with_line(found, arguments, first, second)
    if (first, second) != ("service-connector", "register"):
        return ""
    plain = [argument.replace("_", "-").lower() for argument in arguments]
    pairs = {*plain, *(value for argument in plain for value in argument.split("="))}
    for method, why in _AUTH_METHODS.items():
        if method in pairs:
            return why + _REGISTER
    return next((text for option, text in _OPTIONS.items() if option in pairs), "")


def _with_line(text: str, arguments: Sequence[str], group: str, command: str) -> str:
    if "{line}" not in text:
        return text
    line = zenml_line(arguments, group, command or "--help")
    by_secret = any(argument.replace("_", "-").startswith("--authentication-secret") for argument in arguments)
    if (group, command) == ("artifact-store", "register") and by_secret:
        text, line = _BY_SECRET, line + ("" if "--connector" in line else " --connector=NAME")
    return text.format(line=line)
