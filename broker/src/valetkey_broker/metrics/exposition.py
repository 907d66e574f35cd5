"""Writes readings down as Prometheus reads them, by prometheus-client: a registry of this process, and no files."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from valetkey_broker.metrics.catalog import Kind, Reading
from valetkey_broker.observability.counters import Histogram


class Exposition:
    """The text for a scrape. May be used from another thread than the one that took the readings."""

    def __init__(self) -> None:
        self._readings: Iterable[Reading] = ()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self, readings: Iterable[Reading]) -> bytes:
        """Returns the text, with the metrics of the process besides. Not to be called twice at once."""
        self._readings = readings
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """Gives the families; prometheus-client asks for them."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily] = {}
        for metric, labels, value in self._readings:
            family = families.get(metric.name)
            if family is None:
                family = families[metric.name] = _MADE[metric.kind](metric.name, metric.help, labels=metric.labels)
            if isinstance(family, HistogramMetricFamily) and isinstance(value, Histogram):
                bounds = [*map(str, value.bounds), "+Inf"]
                family.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
            elif not isinstance(family, HistogramMetricFamily) and not isinstance(value, Histogram):
                family.add_metric(labels, value)
        yield from families.values()


_MADE = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}
