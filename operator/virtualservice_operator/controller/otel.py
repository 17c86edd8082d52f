"""
Traces by OpenTelemetry. Imported only when they are on: see tracing.py.

Where to, with which headers, how many, under which name: the SDK reads OTEL_* itself.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from virtualservice_operator.api import names
from virtualservice_operator.controller.tracing import Span

_CLOSE_SECONDS: Final = 2.0


class _Recorded:
    """A span that is sent."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.is_recording = span.is_recording()

    def say(self, attribute: str, value: Any) -> None:
        self._span.set_attribute(attribute, value)

    def fail(self, kind: str, message: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.Status(trace.StatusCode.ERROR, message))


class OpenTelemetry:
    """Makes spans and sends them in batches, from a thread of its own. Log lines get the id of their trace."""

    def __init__(self) -> None:
        ours = Resource({"service.name": names.OPERATOR, "service.version": version(names.OPERATOR)})
        # The environment's word goes before ours.
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("virtualservice_operator")
        for handler in logging.getLogger().handlers:
            handler.addFilter(_add_trace_id)

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """Yield a span; it is a child of the one that was entered before, in the same task."""
        with self._tracer.start_as_current_span(name) as span:
            yield _Recorded(span)

    def close(self) -> None:
        """Send what is still here, for two seconds at most: a collector that is away must not keep the process."""
        closing = threading.Thread(target=self._provider.shutdown, name="close-traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def _add_trace_id(record: logging.LogRecord) -> bool:
    """Say which trace a line belongs to; and leave out the traceback where a collector is away, which is no bug."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record.trace_id = trace.format_trace_id(context.trace_id)
    if record.name.startswith("opentelemetry"):
        record.exc_info = None
    return True
