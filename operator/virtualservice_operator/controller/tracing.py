"""
Traces: one span for each reconcile, with children for what takes time in it: `with tracing.span("render") as span`.

Off unless the environment asks for them by OpenTelemetry's own variables. Off, nothing of OpenTelemetry is imported, and
a span is one object that all share. `otel.py` is what is behind them when they are on.
"""

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Protocol, Self

from virtualservice_operator.kube.errors import ConfigurationError

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"


class Span(Protocol):
    """A piece of work. `is_recording` tells whether it is worth gathering what to say about it."""

    is_recording: bool

    def say(self, attribute: str, value: Any) -> None:
        """Note a fact about it."""

    def fail(self, kind: str, message: str) -> None:
        """Note that it failed, by a short word and in full."""


class Tracing(Protocol):
    """Makes spans."""

    def span(self, name: str) -> AbstractContextManager[Span]:
        """Return a span to enter; it is a child of the one that was entered before, in the same task."""

    def close(self) -> None:
        """Send what is still here, for a moment at most."""


class _Silence:
    """A span that nobody hears."""

    __slots__ = ()
    is_recording = False

    def say(self, attribute: str, value: Any) -> None:
        """Say it to nobody."""

    def fail(self, kind: str, message: str) -> None:
        """Say it to nobody."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return


_SILENCE: Final = _Silence()


class _Off:
    """Traces that nobody asked for."""

    __slots__ = ()

    def span(self, name: str) -> AbstractContextManager[Span]:  # noqa: ARG002 - as in Tracing
        """Return the one silent span."""
        return _SILENCE

    def close(self) -> None:
        """Have nothing to send."""


OFF: Final[Tracing] = _Off()


def find_tracing(environment: Mapping[str, str]) -> Tracing:
    """
    Return what the environment asks for: OFF, unless OTEL_TRACES_EXPORTER or an endpoint is set.

    Errors: `ConfigurationError` for another exporter or protocol than OTLP over HTTP.
    """
    if not _is_on(environment):
        return OFF
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _HTTP)
    if protocol != _HTTP:
        raise ConfigurationError(
            f"traces are sent as {_HTTP} only, and OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}: set it to {_HTTP}, and the "
            "endpoint to the collector's HTTP port, 4318"
        )
    otel = importlib.import_module("virtualservice_operator.controller.otel")  # half a second, only when it is wanted
    tracing: Tracing = otel.OpenTelemetry()
    return tracing


def _is_on(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter not in ("", "none", "otlp"):
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER is {exporter}: traces are sent by otlp only, or by none")
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in _ENDPOINTS))
