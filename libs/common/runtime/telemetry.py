"""OpenTelemetry: one trace for each message, whose trace id is its mail_id without the hyphens.

Ingress begins the trace and writes its context (W3C `traceparent`) into the record header, which
travels in every job; each role adds a span for its step.  Off by default, and then nothing is
made, sent or stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator

_propagator = TraceContextTextMapPropagator()
_SEND_SECONDS = 2
_tracer: trace.Tracer | None = None
_provider: TracerProvider | None = None


def configure_telemetry(endpoint: str, process: str) -> None:
    """Send spans to the collector at `endpoint` (OTLP over HTTP); empty: do nothing."""
    global _tracer, _provider
    if not endpoint:
        return
    # Loaded only when it is used: the SDK is larger than most roles.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "holub", "service.instance.id": process})
    provider = TracerProvider(
        resource=resource, id_generator=_message_ids(), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_SEND_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer, _provider = provider.get_tracer("holub"), provider


_next_trace_id = 0


def _message_ids() -> IdGenerator:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class MessageIds(RandomIdGenerator):
        """Gives a trace the id of its message."""

        def generate_trace_id(self) -> int:
            return _next_trace_id or super().generate_trace_id()

    return MessageIds()


class MessageSpan:
    """The first span of a message, from the end of its content to the reply."""

    def __init__(self, mail_id: str, listener: str) -> None:
        global _next_trace_id
        self.traceparent = ""
        self._span: trace.Span | None = None
        if _tracer is None:
            return
        # Read at once by start_span, in this very thread.
        _next_trace_id = int(mail_id.replace("-", ""), 16)
        self._span = _tracer.start_span(
            "ingress", attributes={"mail_id": mail_id, "listener": listener}
        )
        _next_trace_id = 0
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span))
        self.traceparent = carrier.get("traceparent", "")

    def end(self, code: int) -> None:
        """The client was told this code."""
        if self._span is not None:
            self._span.set_attribute("smtp.reply", code)
            self._span.end()


def record_steps(stage: str, messages: Iterable[tuple[str, str]], start: float) -> None:
    """A span for each (mail_id, traceparent) of a batch that began at `start` (unix time)."""
    if _tracer is None:
        return
    begin, end = int(start * 1e9), time.time_ns()
    for mail_id, traceparent in messages:
        if not traceparent:
            continue
        context: Context = _propagator.extract({"traceparent": traceparent})
        span = _tracer.start_span(stage, context, attributes={"mail_id": mail_id}, start_time=begin)
        span.end(end)


def close_telemetry() -> None:
    """Send what is left, within two seconds; at the end of a process."""
    if _provider is not None:
        _provider.force_flush(_SEND_SECONDS * 1000)
        _provider.shutdown()
