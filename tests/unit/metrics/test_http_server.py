"""The port for metrics: what is there, what it says to strangers, and what an operator reads who cannot have it."""

import socket
import threading

import pytest

from support.scraping import get
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.metrics.http_server import OneWorker, metrics_port
from valetkey_broker.settings import MetricsSettings
from valetkey_devstack.free_ports import free_port


def test_what_is_told_while_the_worker_hangs() -> None:
    """A scrape names the worker that does not answer, and probes get a code and no more."""
    settings, workers = MetricsSettings(port=free_port()), OneWorker()
    assert settings.port is not None
    with metrics_port(settings, workers):
        status, text = get(settings.port, "/metrics?name=x")
        assert status == 200
        assert 'valetkey_worker_up{worker="0"} 0\n' in text
        assert get(settings.port, "/healthz") == get(settings.port, "/readyz") == (503, "unavailable\n")
        assert get(settings.port, "/")[0] == 404
    workers.asker.close()
    with pytest.raises(OSError, match="refused"):
        get(settings.port, "/healthz")


def test_a_port_that_is_taken() -> None:
    """The operator reads which setting it is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = MetricsSettings(port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match=r"cannot tell metrics on 127.0.0.1:\d+: the port is taken.*"):
            metrics_port(settings, OneWorker()).__enter__()


def test_a_host_that_is_not_this_one() -> None:
    """So does one whose host is wrong."""
    with pytest.raises(ConfigurationError, match=r"cannot tell metrics on 192.0.2.1:9: .*see metrics.host"):
        metrics_port(MetricsSettings(host="192.0.2.1", port=9), OneWorker()).__enter__()


def test_a_probe_that_gets_no_thread_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was short of processes for a while costs those probes, and not all that come later."""
    settings, workers = MetricsSettings(port=free_port()), OneWorker()
    assert settings.port is not None
    with metrics_port(settings, workers):
        workers.asker.close()
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", _no_more_threads)
            for _ in range(20):
                with pytest.raises(OSError):  # noqa: PT011 (reset, or closed without an answer)
                    get(settings.port, "/healthz")
        assert get(settings.port, "/healthz") == (503, "unavailable\n")


def _no_more_threads(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_no_port_no_metrics() -> None:
    """Nothing listens unless somebody asked for it."""
    assert MetricsSettings().address == ""
    with metrics_port(MetricsSettings(), OneWorker()):
        pass
