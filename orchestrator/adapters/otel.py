"""Sends traces to a collector, with the SDK of OpenTelemetry (the extra `otel`), by OTLP over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator import __version__
from orchestrator.adapters.messenger import address_problem, is_local, told_address
from orchestrator.core.trace import Trace
from orchestrator.errors import OrcError, UnavailableError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

DEFAULT = "http://127.0.0.1:4318"
"""Where a collector on this machine listens."""
PATH = "/v1/traces"
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
        raise OrcError(
            f"{told_address(address)}: {problem}",
            hint="what the collector wants to be told goes into OTEL_EXPORTER_OTLP_HEADERS",
        )
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError:
        raise UnavailableError(
            "traces need the SDK of OpenTelemetry, which is not installed",
            hint="in the checkout of orc: python -m pip install '.[otel]'; orc trace --json needs none",
        ) from None
    spans = _spans_of(traces, workspace)
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # What went wrong is told below, once.
    session, answers = requests.Session(), list[Any]()
    session.trust_env = not is_local(address)  # What is for this machine does not leave it by a proxy.
    session.hooks["response"].append(lambda answer, *_, **__: answers.append(answer))
    endpoint = f"{address.rstrip('/').removesuffix(PATH)}{PATH}"
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT_S, session=session)
    try:
        for at in range(0, len(spans), MOST_SPANS):
            answers.clear()
            done = exporter.export(spans[at : at + MOST_SPANS])
            if (why := _why_not(answers)) or done is not SpanExportResult.SUCCESS:
                raise UnavailableError(
                    f"the collector at {told_address(address)} does not take the traces{why and f': {why}'}",
                    hint="is it at work there? OTLP over HTTP usually has the port 4318",
                )
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]
    return len(spans)


def _spans_of(traces: Sequence[Trace], workspace: str) -> list[ReadableSpan]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

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
    return spans


def _why_not(answers: Sequence[Any]) -> str:
    """What is wrong with the last answer, if there was one. The SDK takes a redirection for a success, and any page."""
    if not answers:
        return ""
    code, kind = answers[-1].status_code, str(answers[-1].headers.get("Content-Type", ""))
    if 300 <= code < 400:
        return f"it answered {code}, and a redirection is not followed"
    if code >= 400:
        return f"it answered {code}"
    return "it answered with a web page, which no collector does" if kind.startswith("text/html") else ""
