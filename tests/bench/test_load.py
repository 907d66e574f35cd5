"""What the bench reads from h2load's output."""

import pytest

from bench.load import BenchError, parse

REPORT = """
finished in 1.60s, 2500.50 req/s, 1.50MB/s
requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 60.00KB (61440) total, 1.00KB (1024) headers (space savings 95.00%), 53.42KB (54700) data
"""
LOG = "".join(f"1700000000000000\t200\t{millisecond * 1000}\n" for millisecond in range(1, 101))


def test_numbers() -> None:
    """Throughput, percentiles and the size of an answer without gRPC's five bytes."""
    measured = parse(REPORT, LOG)
    assert (measured.requests, measured.per_second, measured.answer_bytes) == (100, 2500.5, 542)
    assert measured.p50 == pytest.approx(50.5)
    assert measured.p99 == pytest.approx(99.99)


def test_later_columns_are_passed_over() -> None:
    """h2load says that its log may get more columns."""
    assert parse(REPORT, LOG.replace("\n", "\tmore\n")).p50 == pytest.approx(50.5)


@pytest.mark.parametrize(
    ("report", "log"),
    [
        (REPORT.replace("100 succeeded", "99 succeeded"), LOG),
        (REPORT, LOG.replace("\t200\t", "\t503\t", 1)),
        (REPORT, LOG.partition("\n")[2]),
        ("h2load: something else", LOG),
    ],
    ids=["failed", "status", "lost", "unknown"],
)
def test_a_run_that_did_not_work_is_no_measurement(report: str, log: str) -> None:
    """Errors are fast; a bench that counted them would praise a broken broker."""
    with pytest.raises(BenchError):
        parse(report, log)
