"""Our alerts and our dashboard, on a real Prometheus that scrapes a broker."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import yaml

from support.captured_log import Log
from support.fake_cloud import FakeCloud
from support.inproc import ADMIN_KEY, CONSUMER_KEY, SECRET, bearer, new_connector, running_broker
from support.prometheus import running_prometheus
from support.scraping import scrape
from valetkey.v1 import connector_service_pb2
from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.metrics.catalog import OF_SUPERVISOR, OF_WORKERS
from valetkey_devstack.free_ports import free_port

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "helm/valetkey/files/alerts.yaml"
DASHBOARD = ROOT / "helm/valetkey/files/dashboard.json"
CASES = ROOT / "tests/prometheus/alerts_test.yaml"
RUNBOOK = ROOT / "docs/runbook.md"
# What a broker without client certificates, and on no real Vault, does not tell.
REFUSED = "the cloud refuses the credential of a connector: it gets no new keys, and soon no tokens"
NOT_HERE = ("valetkey_trust_bundle", "valetkey_vault_secret_id", "valetkey_vault_token")


def alerts() -> list[Any]:
    """Returns the rules."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def queries() -> Iterator[str]:
    """Gives every query of the dashboard, with what Grafana puts in for its variables."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "1m")
            yield re.sub(r"\$(job|instance)\b", ".*", text)


async def test_a_refused_credential_is_named_and_every_panel_has_something_to_show(tmp_path: Path, log: Log) -> None:
    """From the cloud's refusal to the alert with the connector's name; and no panel asks for what nobody tells."""
    cloud = FakeCloud({"demoaccount": ["demo"]}, secrets=[SECRET])
    port = free_port()
    async with running_broker(tmp_path, cloud=cloud, metrics={"port": port}) as broker:
        await broker.ready()
        created = new_connector()
        created.expire_time.FromJsonString("2998-01-01T00:00:00Z")
        await broker.connectors.CreateConnector(created, metadata=bearer(ADMIN_KEY))
        await broker.allow()
        async with running_prometheus(tmp_path, port, ALERTS) as prometheus:
            await prometheus.until_found("valetkey_serving == 1")
            wanted = pb.IssueTokenRequest(resource_id="az://demo", permissions=[1])
            await broker.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY))
            # Prometheus sees an increase only of what it has scraped before.
            await prometheus.until_found("valetkey_tokens_issued_total == 1")
            await broker.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY))
            await prometheus.until_found("increase(valetkey_tokens_issued_total[1h]) > 0")
            wanted.resource_id = "az://nowhere"
            with pytest.raises(grpc.aio.AioRpcError):
                await broker.tokens.IssueToken(wanted, metadata=bearer(CONSUMER_KEY))
            assert not await prometheus.query('ALERTS{alertname="ValetKeyCredentialRefused"}')
            cloud.secrets = set()
            verify = connector_service_pb2.VerifyConnectorRequest(name="azure-blob-demo")
            with pytest.raises(grpc.aio.AioRpcError):
                await broker.connectors.VerifyConnector(verify, metadata=bearer(ADMIN_KEY))
            firing = 'ALERTS{alertname="ValetKeyCredentialRefused",alertstate="firing"}'
            (alert,) = await prometheus.until_found(firing)
            assert (alert["metric"]["connector"], alert["metric"]["severity"]) == ("azure-blob-demo", "critical")
            (line,) = log.events(REFUSED)
            assert (line["level"], line["connector"]) == ("error", "azure-blob-demo")
            assert line["reason"] == "CLOUD_CREDENTIAL_REJECTED"
            # Two scrapes have seen what happened by now, as rates need it.
            await prometheus.until_found('rate(valetkey_requests_total{code="PERMISSION_DENIED"}[1m])')
            for query in queries():
                # A scrape that a busy machine had no time for leaves a gap; the next one closes it.
                ask = prometheus.query if any(name in query for name in NOT_HERE) else prometheus.until_found
                await ask(query)
        told = await scrape(port)
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=told.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_alerts_fire_when_they_should_and_else_never() -> None:
    """Each has a case in which it fires, with its words, and none fires where all is well."""
    ran = subprocess.run(["promtool", "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_its_case_and_its_page() -> None:
    """Whoever is woken finds what to do; a rule that nobody ever saw firing may never fire."""
    names = [rule["alert"] for rule in alerts()]
    fired = {
        each["alertname"]
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for each in case["alert_rule_test"]
        if each.get("exp_alerts")
    }
    assert fired == set(names)
    assert re.findall(r"^## (.*)$", RUNBOOK.read_text(), re.MULTILINE) == names
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    """A metric that was renamed would leave a panel empty and an alert silent."""
    known = {metric.name for metric in (*OF_WORKERS, *OF_SUPERVISOR)}
    asked = [*queries(), *(rule["expr"] for rule in alerts())]
    used = {name for text in asked for name in re.findall(r"valetkey_[a-z_]+", text)}
    assert {re.sub(r"_bucket$", "", name) for name in used} <= known
