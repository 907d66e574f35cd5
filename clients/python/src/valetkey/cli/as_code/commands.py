"""`valetkey apply` and `valetkey export`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from valetkey.cli import error_output
from valetkey.cli.as_code.applying import ApplyResult, carry_out, read_secrets
from valetkey.cli.as_code.desired_state import read_documents
from valetkey.cli.as_code.exporting import exported
from valetkey.cli.as_code.plan import Action, Plan, Verb, make_plan
from valetkey.cli.as_code.yaml_reading import MAX_BYTES, Value, read_yaml
from valetkey.cli.confirmation import confirm
from valetkey.cli.credential_input import read_stdin
from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.errors import InvalidArgumentError, SettingsError
from valetkey.secret_files import read_bytes
from valetkey.values import Grant

_SIGNS = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.DELETE: "-"}
_KINDS = {"connector": "service connector", "grant": "grant"}


def apply(
    context: typer.Context,
    *,
    file: Annotated[
        list[str],
        typer.Option(
            "--file", "-f", metavar="FILE|DIR|-", help="YAML to apply; a folder for all in it.", show_default=False
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Who keeps these files; kept as the label valetkey/owner.", show_default=False
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also delete what this --owner applied, and the files no longer say.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make connectors and grants what files say: show the difference, ask, then do it.

    Secrets stand in the files as @FILE or $NAME only. Exit code 0 where all is as the files say, or was made so; with
    --dry-run 1 where something would be done.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    if prune and not owner:
        raise InvalidArgumentError("--prune needs --owner: only what that owner applied is deleted")
    documents = read_documents(_read(file))
    with client_of(context, screen) as client:
        with screen.busy("Looking at what there is"):
            plan = make_plan(documents, client.list_connectors(), client.list_grants(), owner=owner or "", prune=prune)
            plan = _without_own_access(client, plan, screen)
        if not screen.as_json:
            _print(screen, plan)
        if dry_run or not plan.actions:
            if screen.as_json:
                screen.json({**_plan_json(plan), "dry_run": dry_run})
            raise typer.Exit(error_output.REFUSED if dry_run and plan.actions else 0)
        secrets = read_secrets(plan)
        confirm(screen, f"apply {len(plan.actions)} change(s)", _told(plan), yes=yes)
        result = carry_out(client, plan, secrets, screen.progress)
    _finish(screen, plan, result)


def export(context: typer.Context) -> None:
    """Print connectors and grants as files for `apply`, in YAML, with a reference in place of each secret."""
    screen = Screen(as_json=False)
    with client_of(context, screen) as client:
        connectors, grants = client.list_connectors(), client.list_grants()
    sys.stdout.write(exported(connectors, grants))


def _read(given: Sequence[str]) -> list[Value]:
    """Returns the YAML documents of files and folders. Raises InvalidArgumentError or SettingsError."""
    found: list[Value] = []
    for text in given:
        if text == "-":
            found += read_yaml(read_stdin(MAX_BYTES), "standard input")
            continue
        path = Path(text)
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.suffix in (".yaml", ".yml", ".json"))
            if not files:
                raise SettingsError(f"{path}: holds no .yaml, .yml or .json; nothing was done")
        for each in files:
            found += read_yaml(read_bytes(each, "--file", MAX_BYTES), str(each))
    return found


def _without_own_access(client: Client, plan: Plan, screen: Screen) -> Plan:
    """Returns the plan without the deletion of grants that the caller itself lives by, and of their connectors."""
    if not any(action.verb is Verb.DELETE for action in plan.actions):
        return plan
    grants = client.list_grants()
    kept: list[Action] = []
    for action in plan.actions:
        by_connector = action.kind == "connector"
        own = action.verb is Verb.DELETE and any(
            _is_own(client, grant)
            for grant in grants
            if (action.name in [each.name for each in grant.connectors] if by_connector else grant.name == action.name)
        )
        if own:
            what = "is what a grant lets you use" if by_connector else "lets you use what it is for"
            group = "service-connector" if by_connector else "grant"
            screen.warn(
                f"{_KINDS[action.kind]} {action.name} {what}, and is left; "
                f"delete it by itself if that is meant: valetkey {group} delete {action.name}"
            )
        else:
            kept.append(action)
    return Plan(kept, plan.unchanged)


def _is_own(client: Client, grant: Grant) -> bool:
    container = grant.containers[0].replace("*", "x")
    path = f"/{grant.prefixes[0]}/x" if grant.prefixes else ""
    explained = client.explain_access(
        f"{container if '://' in container else f'az://{container}'}{path}",
        [word for word in grant.permissions if not path or word != "list"] or grant.permissions,
        connector=grant.connectors[0].name,
        source_ip=grant.source_ip or None,
    )
    return any(finding.allows for finding in explained.findings if finding.grant == grant.name)


def _print(screen: Screen, plan: Plan) -> None:
    for action in plan.actions:
        screen.line(f"{_SIGNS[action.verb]} {_KINDS[action.kind]} {action.name}")
        for change in action.changes:
            before = f"{change.before} → " if action.verb is Verb.UPDATE and change.before else ""
            screen.line(f"    {change.field}: {before}{change.after or '<none>'}")
    counts = {verb: sum(action.verb is verb for action in plan.actions) for verb in Verb}
    screen.line(
        f"{counts[Verb.CREATE]} to create, {counts[Verb.UPDATE]} to update, {counts[Verb.DELETE]} to delete, "
        f"{plan.unchanged} unchanged."
    )


def _told(plan: Plan) -> str:
    deleted = [action.name for action in plan.actions if action.verb is Verb.DELETE and action.kind == "connector"]
    if not deleted:
        return "connectors are verified before they are stored"
    return f"with {', '.join(deleted)} goes their credential, for good, and every grant for them gives nothing more"


def _finish(screen: Screen, plan: Plan, result: ApplyResult) -> None:
    for warning in result.warnings:
        screen.warn(warning)
    if screen.as_json:
        screen.json(
            {
                **_plan_json(plan),
                "done": [_name_json(action) for action in result.done],
                "failed": _name_json(result.failed) if result.failed else None,
                "not_tried": [_name_json(action) for action in result.left],
            }
        )
    else:
        screen.line(f"Done: {len(result.done)} of {len(plan.actions)}.")
    if result.failed is None or result.error is None:
        return
    left = ", ".join(f"{_KINDS[action.kind]} {action.name}" for action in result.left) or "nothing"
    screen.note(
        f"{result.failed.verb} {_KINDS[result.failed.kind]} {result.failed.name} failed; not tried any more: "
        f"{left}. What was done stays; mend the cause and apply again"
    )
    raise result.error


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "changes": [
            {
                **_name_json(action),
                "fields": {change.field: {"before": change.before, "after": change.after} for change in action.changes},
            }
            for action in plan.actions
        ],
        "unchanged": plan.unchanged,
    }


def _name_json(action: Action) -> dict[str, str]:
    return {"action": action.verb.value, "kind": action.kind, "name": action.name}
