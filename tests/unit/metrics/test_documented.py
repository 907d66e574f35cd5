"""docs/metrics.md lists every metric, as the broker tells it."""

from pathlib import Path

from valetkey_broker.metrics.catalog import OF_SUPERVISOR, OF_WORKERS, Kind, Metric

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def row(metric: Metric) -> str:
    """Returns the line that the page has to have."""
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help} |"


def test_the_page_is_current() -> None:
    """Whoever writes a query reads there what exists: no metric is missing, none is told that is gone."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `valetkey_")]
    assert lines == [row(metric) for metric in (*OF_WORKERS, *OF_SUPERVISOR)]


def test_names_follow_the_rules_of_prometheus() -> None:
    """Counters end in _total, times are in seconds, names are unique; `promtool check metrics` would say the same."""
    metrics = (*OF_WORKERS, *OF_SUPERVISOR)
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
        assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds")
        assert metric.help.endswith(".")
