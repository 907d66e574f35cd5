"""The texts of several workers become one that Prometheus reads: each metric described once, its samples together."""

from prometheus_client.parser import text_string_to_metric_families

from valetkey_broker.metrics.joined_worker_metrics import joined

ONE = b"""# HELP calls_total Calls {of} all.
# TYPE calls_total counter
calls_total{code="a } b"} 2.0
# HELP lag_seconds Lag.
# TYPE lag_seconds gauge
lag_seconds 0.5
"""
OTHER = b"""# HELP lag_seconds Lag.
# TYPE lag_seconds gauge
lag_seconds 1.5
# HELP only_here Of one worker.
# TYPE only_here gauge
only_here{} 3
"""


def test_every_sample_says_whose_it_is() -> None:
    """Two workers' numbers must not overwrite each other, whatever stands in their labels."""
    lines = joined({0: ONE, 3: OTHER})
    families = {each.name: each for each in text_string_to_metric_families("\n".join([*lines, ""]))}
    assert [(each.labels, each.value) for each in families["calls"].samples] == [
        ({"worker": "0", "code": "a } b"}, 2.0)
    ]
    assert [(each.labels["worker"], each.value) for each in families["lag_seconds"].samples] == [("0", 0.5), ("3", 1.5)]
    assert families["only_here"].samples[0].value == 3
    assert sum(line.startswith("# TYPE lag_seconds") for line in lines) == 1
