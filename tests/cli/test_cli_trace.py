"""`orc trace` sends what the ledger tells to a real server that speaks OTLP."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cli_world as w
import pytest
from local_server import Posted, taking_posts

pytest.importorskip("opentelemetry.sdk", reason="install the extra: python -m pip install '.[otel]'")


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A server on loopback, and the spans that it was sent."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got: list[Any] = []

    def take(posted: Posted) -> None:
        body = gzip.decompress(posted.body) if posted.headers.get("Content-Encoding") == "gzip" else posted.body
        request = ExportTraceServiceRequest.FromString(body)
        assert posted.path == "/v1/traces"
        got.extend(span for each in request.resource_spans for one in each.scope_spans for span in one.spans)

    with taking_posts(take) as address:
        yield address, got


def test_a_job_that_has_ended_is_sent_as_one_trace(tmp_path: Path, collector: tuple[str, list[Any]]) -> None:
    address, got = collector
    root = w.new_workspace(tmp_path / "work", merge="auto")
    assert w.orc(root, "trace", "--to", address, code=0).out == "No job ended in that time.\n"
    id_ = w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    told = w.orc(root, "trace", "--to", address, code=0).out
    (trace,) = w.orc(root, "trace", id_, "--json", code=0).json()["traces"]
    assert told == f"1 trace with {len(got)} spans sent to {address}\n"
    assert [span.span_id.hex() for span in got] == [each["span_id"] for each in trace["spans"]]
    assert {span.trace_id.hex() for span in got} == {trace["trace_id"]}
    names = [span.name for span in got]
    assert names[:3] == ["job greet", "ready", "running"]
    assert {"invoke_agent worker", "invoke_agent critic"} <= set(names)
    ids = {span.span_id for span in got}
    assert all(span.parent_span_id in ids for span in got[1:])
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in got)


def test_a_collector_that_is_not_there_or_not_ours_is_told(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    w.submit(root, "title: greet\nprompt: greet\nhold: later\n", name="greet")
    found = w.orc(root, "trace", "greet", "--to", "http://127.0.0.1:9", env={"OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    assert found.code == 1
    assert "error: the collector at http://127.0.0.1:9 does not take the traces" in found.err
    secret = w.orc(root, "trace", "greet", "--to", "https://ann:sesame@example.org/x?key=sesame", code=1)
    assert "https://example.org/x: the address holds a user or a password" in secret.err
    assert "OTEL_EXPORTER_OTLP_HEADERS" in secret.err
    assert "sesame" not in secret.err
    refused = w.orc(root, "trace", "greet", "--to", "http://example.org", code=1)
    assert "does not begin with https://" in refused.err


@pytest.mark.parametrize(
    ("code", "headers", "told"),
    [
        (302, {"Location": "http://127.0.0.1:9/"}, "it answered 302, and a redirection is not followed"),
        (200, {"Content-Type": "text/html; charset=utf-8"}, "it answered with a web page, which no collector does"),
        (404, {}, "it answered 404"),
    ],
)
def test_what_does_not_take_traces_has_taken_none(
    tmp_path: Path, code: int, headers: dict[str, str], told: str
) -> None:
    root = w.new_workspace(tmp_path / "work")
    w.submit(root, "title: greet\nprompt: greet\nhold: later\n", name="greet")
    with taking_posts(lambda _: None, code, headers) as address:
        found = w.orc(root, "trace", "greet", "greet", "--to", f"{address}/v1/traces/", code=1)
    assert f"error: the collector at {address}/v1/traces/ does not take the traces: {told}" in found.err
