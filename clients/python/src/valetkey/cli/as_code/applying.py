"""Does what a plan says, one action after the other, and keeps account of what was done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from valetkey.cli.as_code.desired_state import ConnectorDocument
from valetkey.cli.as_code.plan import Action, Plan, Verb
from valetkey.cli.as_code.secret_references import SecretReference
from valetkey.cli.connector_draft import azure_of
from valetkey.client import Client
from valetkey.errors import ConflictError, ValetKeyError
from valetkey.values import GrantedConnector, GrantSpec


@dataclass
class ApplyResult:
    """What came of a plan: what was done, what failed and why, and what was not tried any more."""

    done: list[Action] = field(default_factory=list)
    failed: Action | None = None
    error: ValetKeyError | None = None
    left: Sequence[Action] = ()
    warnings: list[str] = field(default_factory=list)


def carry_out(
    client: Client, plan: Plan, secrets: Mapping[str, Mapping[str, str]], tell: Callable[[str], None]
) -> ApplyResult:
    """Does it, until the first failure. `secrets` are those of connectors, by name; `tell` hears of each step."""
    result = ApplyResult()
    actions = list(plan.actions)
    for number, action in enumerate(actions):
        tell(f"{action.verb} {action.kind} {action.name} ({number + 1} of {len(actions)})")
        try:
            result.warnings += _do(client, action, secrets.get(action.name, {}))
        except ValetKeyError as error:
            result.failed, result.error, result.left = action, error, actions[number + 1 :]
            break
        result.done.append(action)
    return result


def read_secrets(plan: Plan) -> dict[str, dict[str, str]]:
    """Returns the secrets that the plan needs, before anything is done. Raises SettingsError where one is missing."""
    found: dict[str, dict[str, str]] = {}
    for action in plan.actions:
        references: Mapping[str, SecretReference] = {}
        if action.verb is Verb.CREATE and isinstance(action.document, ConnectorDocument):
            references = action.document.secrets
        elif action.verb is Verb.UPDATE:
            references = action.arguments.get("secrets", {})
        if references:
            found[action.name] = {key: reference.read() for key, reference in references.items()}
    return found


def _do(client: Client, action: Action, secrets: Mapping[str, str]) -> Sequence[str]:
    if action.kind == "connector":
        return _connector(client, action, secrets)
    if action.verb is Verb.DELETE:
        if client.get_grant(action.name).version != action.version:
            raise ConflictError(f"grant {action.name} was changed in the meantime; look at it, then apply again")
        client.delete_grant(action.name)
        return ()
    spec: GrantSpec = action.arguments["spec"]
    if action.verb is Verb.CREATE:
        # By name where the connector was only just made.
        connectors = [
            each.name if isinstance(each, GrantedConnector) and not each.uid else each for each in spec.connectors
        ]
        return client.create_grant(action.name, replace(spec, connectors=connectors)).warnings
    return client.update_grant(action.name, spec, version=action.version).warnings


def _connector(client: Client, action: Action, secrets: Mapping[str, str]) -> Sequence[str]:
    if action.verb is Verb.DELETE:
        client.delete_connector(action.name)
        return ()
    if action.verb is Verb.UPDATE:
        arguments = {key: value for key, value in action.arguments.items() if key not in ("secrets", "schedule")}
        warnings: Sequence[str] = ()
        if any(arguments.values()) or secrets:
            warnings = client.update_connector(action.name, secrets=secrets, **arguments).warnings
        if "schedule" in action.arguments:
            client.set_rotation_schedule(action.name, action.arguments["schedule"])
        return warnings
    document = action.document
    if not isinstance(document, ConnectorDocument):
        raise TypeError("a connector is made of its document")
    created = client.create_connector(
        document.name,
        type=document.connector_type,
        auth_method=document.auth_method.value if document.auth_method else "",
        authentication_secret=document.authentication_secret,
        resource_type=document.resource_type or None,
        resource_id=document.resource_id or None,
        azure=azure_of(document.config),
        secrets=secrets,
        description=document.description,
        labels=action.arguments["labels"],
        expire_time=document.expire_time,
        expires_skew_tolerance=document.expires_skew_tolerance,
    )
    if document.schedule is not None:
        client.set_rotation_schedule(document.name, document.schedule)
    return created.warnings
