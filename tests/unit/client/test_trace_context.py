"""The client hands on the trace of the span that runs, where there is one, and needs no package for it."""

import sys
from types import SimpleNamespace

import pytest
from opentelemetry import trace

from valetkey.identity import Identity
from valetkey.trace_context import with_trace

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
KEY = "vk_" + "C" * 43
BEARER = ("authorization", f"Bearer {KEY}")


def test_the_running_span_is_handed_on() -> None:
    """One search finds a call on both sides; beside the identity, and also where a certificate is all there is."""
    span = trace.NonRecordingSpan(trace.SpanContext(TRACE, SPAN, is_remote=False, trace_flags=trace.TraceFlags(1)))
    header = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    with trace.use_span(span):
        assert Identity(api_key=KEY).call_metadata() == (BEARER, header)
        assert with_trace(None) == (header,)
    assert Identity(api_key=KEY).call_metadata() == (BEARER,)
    assert with_trace(None) is None


@pytest.mark.parametrize("module", [None, SimpleNamespace(), SimpleNamespace(get_current_span=lambda: None)])
def test_without_opentelemetry_nothing_changes(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    """Also where something else has its name, or it is imported by half."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    assert with_trace((BEARER,)) == (BEARER,)
