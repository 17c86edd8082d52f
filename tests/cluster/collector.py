"""An OpenTelemetry collector of our own: takes OTLP over HTTP on the loopback interface and keeps the spans."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class SpanSeen:
    """One span as it came over the wire."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    error: str | None
    resource: dict[str, Any]


class Collector:
    """Listens while it is entered; `spans` are those so far."""

    def __init__(self) -> None:
        self.spans: list[SpanSeen] = []
        self.requests: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self) -> str:
        """The address for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def named(self, name: str, **attributes: str) -> list[SpanSeen]:
        """Return the spans of a name with these attributes; dots are written as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [span for span in self.spans if span.name == name and wanted.items() <= span.attributes.items()]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, path: str, content_type: str, body: bytes) -> None:
        self.requests.append((path, content_type))
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            resource = {item.key: _value(item.value) for item in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans.extend(_seen(span, resource) for span in scope.spans)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                take(self.path, self.headers["Content-Type"], body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _seen(span: Any, resource: dict[str, Any]) -> SpanSeen:
    return SpanSeen(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes={item.key: _value(item.value) for item in span.attributes},
        error=span.status.message if span.status.code == 2 else None,
        resource=resource,
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)
