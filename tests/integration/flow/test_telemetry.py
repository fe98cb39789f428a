"""Traces as a collector receives them: OTLP over HTTP."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.servers.holub import DOMAIN, Holub

CONTENT = b"From: you@elsewhere.example\r\nSubject: traced\r\n\r\nhello\r\n"


class Collector:
    """Takes what the exporter posts."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str]] = []
        """(trace id, name)"""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        self.spans += [
            (span.trace_id.hex(), span.name)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def test_one_trace_for_a_message_named_by_its_mail_id(tmp_path: Path, collector: Collector) -> None:
    holub = Holub(tmp_path, {"HOLUB_OTLP_ENDPOINT": collector.url})
    holub.prepare("alice")
    try:
        holub.start("all")
        mail_id = holub.send(CONTENT, f"alice@{DOMAIN}")
        holub.wait_for("alice", 1)
        assert holub.stop() == [0]
    finally:
        holub.kill()

    deadline = time.monotonic() + 10
    while len(collector.spans) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    ours = {name for trace_id, name in collector.spans if trace_id == mail_id.replace("-", "")}
    assert ours == {"ingress", "filter", "delivery", "storage"}
