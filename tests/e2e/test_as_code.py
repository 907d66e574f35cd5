"""`valetkey apply` and `export` against a whole stack."""

from pathlib import Path

import pytest

from support.e2e import DEMO, Live, unique

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]


def files(live: Live, directory: Path, name: str, **changes: str) -> Path:
    """Writes a file with one connector and one grant for it, and its secret beside it."""
    tenant, client = live.stack.tenant_id, live.stack.client_id
    (directory / "secret.txt").write_text(live.stack.client_secret.reveal())
    grant = {"principals": "[key:nobody]", "containers": "[demo-*]", "permissions": "[read, list]", **changes}
    lines = [
        "connectors:",
        f"  - {{name: {name}, tenant_id: {tenant}, client_id: {client}, client_secret: '@secret.txt',",
        "     rotate_every: 90d}",
        "grants:",
        f"  - name: {name}",
        f"    connectors: [{name}]",
        *(f"    {field}: {text}" for field, text in grant.items()),
    ]
    file = directory / "team.yaml"
    file.write_text("\n".join(lines))
    return file


def test_apply_export_and_prune(live: Live, tmp_path: Path) -> None:
    """A diff first, then done; twice is once; an export applied changes nothing; pruning takes only what is its own."""
    name, owner = unique("code"), unique("team")
    file = files(live, tmp_path, name)
    apply = ("apply", "-f", file, "--owner", owner)
    dry = live.admin(*apply, "--dry-run")
    assert (dry.code, "2 to create" in dry.out, name in live.admin.names()) == (1, True, False)
    unconfirmed = live.admin(*apply)
    assert (unconfirmed.code, "pass --yes" in unconfirmed.err, name in live.admin.names()) == (2, True, False)
    done = live.admin.done(*apply, "--yes")
    assert f"+ service connector {name}" in done.out
    assert "Done: 2 of 2." in done.out
    assert live.stack.client_secret.reveal() not in done.out + done.err + dry.out
    again = live.admin.done(*apply, "--yes", "-o", "json").json
    assert (again["changes"], again["unchanged"]) == ([], 2)

    files(live, tmp_path, name, permissions="[read]", note="narrower")
    changed = live.admin.done(*apply, "--yes", "-o", "json").json
    assert [(each["action"], each["kind"], set(each["fields"])) for each in changed["changes"]] == [
        ("update", "grant", {"permissions", "note"})
    ]
    assert live.admin.done("service-connector", "describe", name, "-o", "json").json["rotation_schedule"] == {
        "every": 90 * 86_400,
        "by": "",
    }
    exported = tmp_path / "exported.yaml"
    exported.write_text(live.admin.done("export").out)
    assert live.admin.done("apply", "-f", exported, "--dry-run", "-o", "json").json["changes"] == []

    other = unique("code")
    kept = files(live, tmp_path, other)
    pruned = live.admin.done("apply", "-f", kept, "--owner", owner, "--prune", "--yes", "-o", "json").json
    assert [(each["action"], each["kind"], each["name"]) for each in pruned["done"]] == [
        ("create", "connector", other),
        ("create", "grant", other),
        ("delete", "grant", name),
        ("delete", "connector", name),
    ]
    assert name not in live.admin.names()
    live.admin.done("grant", "delete", other, "--yes")
    live.delete(other)


def test_a_failure_leaves_a_clear_account(live: Live, tmp_path: Path) -> None:
    """What was done, what failed and what was not tried: then it can be mended and applied again."""
    name = unique("code")
    file = files(live, tmp_path, name)
    (tmp_path / "secret.txt").write_text("planted~wrong.secret_1")
    ran = live.admin("apply", "-f", file, "--yes")
    assert ran.code == 1
    assert f"create service connector {name} failed; not tried any more: grant {name}" in ran.err
    assert "AADSTS7000215" in ran.err
    assert "planted~wrong.secret_1" not in ran.err + ran.out
    assert name not in live.admin.names()


def test_own_access_is_not_pruned(live: Live, tmp_path: Path) -> None:
    """Whoever applies keeps the grants that it lives by itself, and is told so."""
    name, owner = unique("code"), unique("team")
    file = files(live, tmp_path, name, principals="['key:*']", containers=f"[{DEMO.removeprefix('az://')}]")
    live.admin.done("apply", "-f", file, "--owner", owner, "--yes")
    other = unique("code")
    files(live, tmp_path, other)
    ran = live.admin.done("apply", "-f", file, "--owner", owner, "--prune", "--yes", "-o", "json")
    assert f"grant {name} lets you use what it is for, and is left" in ran.err
    assert ("delete", "grant", name) not in [(e["action"], e["kind"], e["name"]) for e in ran.json["changes"]]
    for each in (name, other):
        live.admin.done("grant", "delete", each, "--yes")
    live.delete(other)
