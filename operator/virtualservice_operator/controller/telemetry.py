"""Probes, the page of metrics, and logs: how the process is seen from outside."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from virtualservice_operator.controller.metrics import Metrics

_HANG_SECONDS: Final = 5.0


class Heartbeat:
    """Knows whether the event loop still turns."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        """Say that the loop turned."""
        self._last = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Tell whether the loop turned within the last five seconds."""
        return time.monotonic() - self._last < _HANG_SECONDS


def build_app(metrics: Metrics, heartbeat: Heartbeat, unready: Callable[[], list[str]]) -> web.Application:
    """Return the HTTP side: /metrics, /healthz (the loop turns), /readyz (every store has synced, or what has not)."""

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_health(_: web.Request) -> web.Response:
        return _verdict([] if heartbeat.is_alive else ["the event loop hangs"])

    async def show_readiness(_: web.Request) -> web.Response:
        return _verdict(unready())

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", show_metrics),
            web.get("/healthz", show_health),
            web.get("/readyz", show_readiness),
        ]
    )
    return app


def _verdict(problems: list[str]) -> web.Response:
    return web.Response(text="\n".join(problems or ["ok"]) + "\n", status=503 if problems else 200)


class JsonFormatter(logging.Formatter):
    """One JSON object per line; fields given as `extra` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("virtualservice_operator."),
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One readable line: time, level, message, then what of the fields the message does not say, as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        fields = "".join(f" {key}={value}" for key, value in _extra(record).items() if str(value) not in message)
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {message}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "settings"}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("k8s_")}


def configure_logging(level: str, style: str) -> None:
    """
    Send all logs to standard error, in one style; libraries speak only of trouble.

    Of kopf only what its handlers raise, which would be a bug of ours: how its watch fares is told by whoever restarts it.
    """
    formatter = JsonFormatter() if style == "json" else TextFormatter()
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("kopf.objects", "aiohttp.access", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
