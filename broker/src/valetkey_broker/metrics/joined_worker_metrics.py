"""Joins what the workers tell into one text, each sample with the label `worker`.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/, text, version 0.0.4.
"""

from collections.abc import Iterable, Mapping

from valetkey_broker.metrics.catalog import Metric


def joined(texts: Mapping[int, bytes]) -> list[str]:
    """Returns the lines of all texts, by worker: every metric described once, and its samples together."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for worker, text in texts.items():
        label = f'worker="{worker}"'
        described: list[str] = []
        samples: list[str] = []
        for line in text.decode().splitlines():
            if line.startswith("# HELP "):
                described, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
                described[:] = [line]
            elif line.startswith("#"):
                described[1:] = [line]
            elif line:
                samples.append(_labelled(line, label))
    return [line for described, samples in families.values() for line in (*described, *samples)]


def _labelled(sample: str, label: str) -> str:
    brace, blank = sample.find("{"), sample.find(" ")
    if 0 <= brace < blank:
        return f"{sample[: brace + 1]}{label},{sample[brace + 1 :]}"
    return f"{sample[:blank]}{{{label}}}{sample[blank:]}"


def of_workers(metric: Metric, values: Iterable[tuple[int, float]]) -> list[str]:
    """Returns the lines of a metric that is told of workers from outside."""
    return [
        f"# HELP {metric.name} {metric.help}",
        f"# TYPE {metric.name} {metric.kind.value}",
        *(f'{metric.name}{{worker="{worker}"}} {value:g}' for worker, value in values),
    ]
