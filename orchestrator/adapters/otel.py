"""Sends traces to a collector, with the SDK of OpenTelemetry (the extra `otel`), by OTLP over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from orchestrator import __version__
from orchestrator.adapters.messenger import address_problem
from orchestrator.core.trace import Trace
from orchestrator.errors import OrcError, UnavailableError

DEFAULT = "http://127.0.0.1:4318"
"""Where a collector on this machine listens."""
TIMEOUT_S = 15.0
MOST_SPANS = 500
"""So many go into one request."""
_NS = 1_000_000_000


def send_traces(traces: Sequence[Trace], address: str, workspace: str) -> int:
    """Send traces to a collector; how many spans that were.

    Raises UnavailableError where the SDK is not installed or the collector does not take them, OrcError for an address
    that is none, or that others could read along.
    """
    if problem := address_problem(address):
        raise OrcError(f"{address}: {problem}", hint="orc help trace")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import SpanExportResult
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
    except ImportError:
        raise UnavailableError(
            "traces need the SDK of OpenTelemetry, which is not installed",
            hint="in the checkout of orc: python -m pip install '.[otel]'; orc trace --json needs none",
        ) from None
    resource = Resource({"service.name": "orc", "service.version": __version__, "orc.workspace": workspace})
    scope, flags, spans = InstrumentationScope("orc", __version__), TraceFlags(TraceFlags.SAMPLED), []
    for trace in traces:
        for each in trace.spans:
            own = SpanContext(trace.id, trace.span_id(each.key), is_remote=False, trace_flags=flags)
            above = SpanContext(trace.id, trace.span_id(each.parent), is_remote=False, trace_flags=flags)
            spans.append(
                ReadableSpan(
                    each.name,
                    context=own,
                    parent=above if each.parent else None,
                    resource=resource,
                    attributes=dict(each.attributes),
                    status=Status(StatusCode.ERROR, each.error) if each.error else Status(),
                    start_time=int(each.start * _NS),
                    end_time=int(each.end * _NS),
                    instrumentation_scope=scope,
                )
            )
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # What went wrong is told below, once.
    exporter = OTLPSpanExporter(endpoint=f"{address.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
    try:
        for at in range(0, len(spans), MOST_SPANS):
            if exporter.export(spans[at : at + MOST_SPANS]) is not SpanExportResult.SUCCESS:
                raise UnavailableError(
                    f"the collector at {address} does not take the traces", hint="is it at work there?"
                )
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]
    return len(spans)
