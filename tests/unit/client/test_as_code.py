"""Connectors and grants as files: what is refused, and what has to be done to make what is there what they say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from valetkey.cli.as_code.applying import read_secrets
from valetkey.cli.as_code.desired_state import OWNER, Documents, read_documents
from valetkey.cli.as_code.exporting import exported
from valetkey.cli.as_code.plan import Action, Verb, make_plan
from valetkey.cli.as_code.yaml_reading import read_yaml
from valetkey.errors import InvalidArgumentError, SettingsError
from valetkey.values import AzureConfig, Connector, Grant, GrantedConnector

TENANT, CLIENT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
FILE = f"""\
connectors:
  - name: azure-blob
    tenant_id: {TENANT}
    client_id: {CLIENT}
    client_secret: "@secret.txt"
    resource_id: models
    labels: {{team: ml}}
grants:
  - name: trainers
    principals: [key:trainer, key:other]
    connectors: [azure-blob]
    containers: models
    permissions: [list, read]
    max_ttl: 1h
"""
CONNECTOR = Connector(
    name="azure-blob",
    type="azure",
    auth_method="service-principal",
    resource_type="blob-container",
    resource_id="az://models",
    azure=AzureConfig(tenant_id=TENANT, client_id=CLIENT, cloud="azure", storage_account="contosoml"),
    credential_version=1,
    uid="uid-1",
    create_time=datetime(2026, 5, 1, tzinfo=UTC),
    created_by="key:ops",
    labels={"team": "ml"},
)
GRANT = Grant(
    name="trainers",
    principals=("key:other", "key:trainer"),
    attributes={},
    connectors=(GrantedConnector("azure-blob", "uid-1"),),
    containers=("models",),
    prefixes=(),
    permissions=("read", "list"),
    consumer_role="",
    max_ttl=timedelta(hours=1),
    source_ip="",
    expire_time=None,
    note="",
    version=3,
    uid="uid-2",
    create_time=datetime(2026, 5, 1, tzinfo=UTC),
    created_by="key:admin",
)


def documents(text: str, file: str = "team.yaml") -> Documents:
    return read_documents(read_yaml(text.encode(), file))


def changed(action: Action) -> dict[str, tuple[str, str]]:
    return {change.field: (change.before, change.after) for change in action.changes}


def test_what_is_as_the_file_says_is_left() -> None:
    """The order of lists, spellings of a container and what the broker filled in are no difference."""
    plan = make_plan(documents(FILE), [CONNECTOR], [GRANT])
    assert (plan.actions, plan.unchanged) == ([], 2)


def test_what_is_missing_is_made_connectors_first() -> None:
    """A grant names its connector before it is there; its secret is read before anything is done."""
    plan = make_plan(documents(FILE), [], [])
    assert [(action.verb, action.kind, action.name) for action in plan.actions] == [
        (Verb.CREATE, "connector", "azure-blob"),
        (Verb.CREATE, "grant", "trainers"),
    ]
    assert changed(plan.actions[0])["client_secret"] == ("", "@secret.txt")
    assert changed(plan.actions[1])["connectors"] == ("", "azure-blob (<new>)")
    with pytest.raises(SettingsError, match="client_secret"):
        read_secrets(plan)


def test_what_was_exported_is_no_difference() -> None:
    """An end that was given as 30d has parts of a second, which no file has."""
    there = replace(CONNECTOR, expire_time=datetime(2027, 6, 1, 12, 0, 0, 123456, tzinfo=UTC))
    assert make_plan(documents(exported([there], [GRANT])), [there], [GRANT]).actions == []


def test_a_resource_type_is_said_or_left() -> None:
    """A file that names no type makes a connector for all of them, and leaves that of one that is there."""
    of_type = documents(FILE.replace("    resource_id: models\n", "    resource_type: blob-container\n"))
    there = replace(CONNECTOR, resource_type="", resource_id="", resource_types=("blob-container",))
    (narrowed,) = make_plan(of_type, [there], [GRANT]).actions
    assert changed(narrowed) == {"resource_type": ("all", "blob-container")}
    assert narrowed.arguments["resource_type"] == "blob-container"
    every = documents(FILE.replace("    resource_id: models\n", ""))
    assert every.connectors["azure-blob"].resource_type == ""
    assert make_plan(every, [replace(CONNECTOR, resource_id="")], [GRANT]).actions == []
    for connector in (there, replace(there, resource_type="blob-container")):
        again = documents(exported([connector], []))
        assert again.connectors["azure-blob"].resource_type == connector.resource_type
        assert make_plan(again, [connector], []).actions == []
    with pytest.raises(InvalidArgumentError, match=r"resource_type: queue is not known; expected blob-container"):
        documents("connectors: [{name: x, auth_method: implicit, resource_type: queue}]")


def test_each_difference_is_shown_and_mended() -> None:
    """Fields that changed, came, and went: also those that people would not miss in a file, such as a limit."""
    there = replace(
        CONNECTOR,
        resource_id="az://other",
        description="old",
        labels={"team": "ml", "old": "x"},
        azure=replace(CONNECTOR.azure, subscription_id=TENANT),
    )
    plan = make_plan(documents(FILE), [there], [replace(GRANT, max_ttl=None, note="by hand")])
    connector, grant = plan.actions
    assert changed(connector) == {
        "subscription_id": (TENANT, ""),
        "resource_id": ("az://other", "az://models"),
        "description": ("old", ""),
        "labels": ("old=x, team=ml", "team=ml"),
    }
    assert set(connector.arguments["remove"]) == {"subscription_id", "description", "labels.old"}
    assert "secrets" not in connector.arguments
    assert changed(grant) == {"max_ttl": ("", "1h"), "note": ("by hand", "")}
    assert grant.version == 3


def test_a_secret_goes_along_with_what_it_belongs_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It cannot be compared: it is sent where the tenant, the client or the method changes, and then as a reference."""
    other = documents(FILE.replace(CLIENT, TENANT).replace('"@secret.txt"', "${THE_SECRET}"))
    plan = make_plan(other, [CONNECTOR], [GRANT])
    assert changed(plan.actions[0])["client_secret"] == ("<secret>", "${THE_SECRET}")
    monkeypatch.setenv("THE_SECRET", "planted-secret")
    assert read_secrets(plan) == {"azure-blob": {"client_secret": "planted-secret"}}
    assert "planted-secret" not in f"{plan}"
    (tmp_path / "secret.txt").write_text("from-a-file\n")
    beside = documents(FILE, f"{tmp_path}/team.yaml")
    assert read_secrets(make_plan(beside, [], []))["azure-blob"] == {"client_secret": "from-a-file"}


def test_a_connector_made_anew_is_another_one() -> None:
    """Its grants were for the one before: binding them to the new one stands in the difference."""
    plan = make_plan(documents(FILE), [replace(CONNECTOR, uid="uid-9")], [GRANT])
    (action,) = plan.actions
    assert changed(action) == {"connectors": ("azure-blob (uid-1)", "azure-blob (uid-9)")}
    assert action.arguments["spec"].connectors == [GrantedConnector("azure-blob", "uid-9")]


def test_pruning_removes_only_what_the_owner_applied() -> None:
    """Grants before the connectors that they are for; what others or nobody applied stays."""
    mine, others = {OWNER: "team-a"}, {OWNER: "team-b"}
    grants = [
        replace(GRANT, labels=mine),
        replace(GRANT, name="gone", labels=mine),
        replace(GRANT, name="theirs", labels=others),
        replace(GRANT, name="by-hand"),
    ]
    connectors = [
        replace(CONNECTOR, labels={"team": "ml", **mine}),
        replace(CONNECTOR, name="gone-too", labels=mine),
        replace(CONNECTOR, name="theirs-too", labels=others),
    ]
    plan = make_plan(documents(FILE), connectors, grants, owner="team-a", prune=True)
    assert [(action.verb, action.kind, action.name) for action in plan.actions] == [
        (Verb.DELETE, "grant", "gone"),
        (Verb.DELETE, "connector", "gone-too"),
    ]


def test_owners_do_not_take_from_each_other() -> None:
    """What has no owner yet gets one, in sight; what has another is refused; without --owner it stays whose it is."""
    owned = make_plan(documents(FILE), [CONNECTOR], [GRANT], owner="team-a")
    assert changed(owned.actions[1]) == {"labels": ("", f"{OWNER}=team-a")}
    theirs = replace(GRANT, labels={OWNER: "team-b"})
    with pytest.raises(InvalidArgumentError, match="is applied by the owner team-b, not by team-a"):
        make_plan(documents(FILE), [CONNECTOR], [theirs], owner="team-a")
    assert make_plan(documents(FILE), [CONNECTOR], [theirs]).actions == []


def test_what_is_exported_changes_nothing_when_applied() -> None:
    """It holds no secret: whoever makes the connector elsewhere has to say where that is, and is told so."""
    shared = replace(CONNECTOR, name="sharing", authentication_secret="az_secret")
    text = exported(
        [CONNECTOR, shared], [replace(GRANT, expire_time=datetime(2027, 1, 1, tzinfo=UTC), consumer_role="")]
    )
    assert make_plan(documents(text), [CONNECTOR, shared], [GRANT]).actions[0].kind == "grant"
    with pytest.raises(InvalidArgumentError, match="takes client_secret or client_certificate; expected @FILE"):
        make_plan(documents(text), [shared], [])
    text = exported([CONNECTOR], [replace(GRANT, expire_time=datetime(2027, 1, 1, tzinfo=UTC), consumer_role="")])
    grant = replace(GRANT, expire_time=datetime(2027, 1, 1, tzinfo=UTC))
    assert make_plan(documents(text), [CONNECTOR], [grant]).actions == []


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"@secret.txt"', "s3cr3t-value", "line 5: client_secret holds a value; expected @FILE or .NAME"),
        ("client_secret:", "client_secrt:", "line 5: client_secrt is not known in a connector; did you mean client_s"),
        ("  - name: azure-blob\n", "  - name: azure-blob\n    name: twice\n", "line 3: name is given twice"),
        ("containers: models\n", "containers: models\n    prefixs: a\n", "did you mean prefixes"),
        ("connectors: [azure-blob]", "connectors: []", "the grant trainers has no connectors"),
        ("permissions: [list, read]", "role: king", "role: king is not known"),
        ("permissions: [list, read]", "permissions: [sing]", "permissions: 'sing' is unknown"),
        ("permissions: [list, read]", "note: x", "needs either permissions or a role"),
        ("max_ttl: 1h", "expires_at: 90d", "expires_at: '90d' is no time; expected one such as 2027"),
        ("labels: {team: ml}", f"labels: {{{OWNER}: me}}", "is set by --owner"),
        ("resource_id: models", "account_key: $KEY", "one connector has one auth method"),
        ("connectors:\n  - name: azure-blob\n", "connectors: {name: x}\nother:\n  - name: y\n", "other is not known"),
        (FILE, "connectors: [", "is not YAML"),
        (FILE, "\n", "nothing is said"),
        (FILE, "[1, 2]", "a file is a list; expected names"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(before: str, after: str, says: str) -> None:
    """By file and line, before the broker is asked anything; a secret that was written down is not repeated."""
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        documents(FILE.replace(before, after, 1))
    assert "s3cr3t-value" not in str(caught.value)


def test_a_name_in_two_files_is_refused() -> None:
    """Whichever came last would win, and nobody would know."""
    with pytest.raises(InvalidArgumentError, match=r"the connector azure-blob is there already, in a\.yaml, line 2"):
        read_documents([*read_yaml(FILE.encode(), "a.yaml"), *read_yaml(FILE.encode(), "b.yaml")])


def test_a_grant_for_a_connector_that_is_nowhere_is_refused() -> None:
    """Before anything is done: half of the files applied would be worse."""
    with pytest.raises(InvalidArgumentError, match="which is neither there nor in the files"):
        make_plan(documents(FILE.replace("connectors: [azure-blob]", "connectors: [azure-blb]")), [CONNECTOR], [])


def test_a_connector_uses_a_named_secret() -> None:
    """It says how to log in; a connector is not moved from one to another, for its grants would go unseen."""
    text = "connectors: [{name: azure-blob, authentication_secret: az_secret, resource_id: models}]"
    (made,) = make_plan(documents(text), [], []).actions
    assert changed(made)["authentication_secret"] == ("", "az_secret")
    with pytest.raises(InvalidArgumentError, match="uses a secret of its own, and cannot be moved to another"):
        make_plan(documents(text), [CONNECTOR], [])
    with pytest.raises(InvalidArgumentError, match="account_key is given, and authentication_secret"):
        documents(text.replace("resource_id: models", "account_key: $KEY"))
