import subprocess
import sys
import tracemalloc

import pytest

from virtualservice_operator.controller import tracing
from virtualservice_operator.controller.tracing import OFF, find_tracing
from virtualservice_operator.kube.errors import ConfigurationError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="nothing is said"),
        pytest.param({"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}, id="no endpoint"),
        pytest.param({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, id="disabled"),
        pytest.param({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, id="no exporter"),
    ],
)
def test_traces_are_off_unless_the_environment_asks_for_them(environment: dict[str, str]) -> None:
    assert find_tracing(environment) is OFF


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is zipkin: traces are sent by otlp only"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "set it to http/protobuf"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL is http/json"),
    ],
)
def test_what_is_not_supported_is_said(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_tracing(environment)


def test_off_nothing_of_opentelemetry_is_imported_by_the_whole_program() -> None:
    """In an interpreter of its own, with everything that `vso run` imports before it connects."""
    code = (
        "import sys, virtualservice_operator.cli.main, virtualservice_operator.controller.run\n"
        "from virtualservice_operator.controller.tracing import OFF, find_tracing\n"
        "assert find_tracing({}) is OFF\n"
        "found = [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "sys.exit(' '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_off_a_span_allocates_nothing() -> None:
    def work() -> None:
        for _ in range(1000):
            with OFF.span("reconcile") as span:
                span.say("k8s.namespace.name", "shop")
                span.fail("Forbidden", "no")
                assert not span.is_recording

    work()
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        work()
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = [tracemalloc.Filter(inclusive=True, filename_pattern=tracing.__file__)]
    found = after.filter_traces(ours).compare_to(before.filter_traces(ours), "lineno")
    assert sum(item.size_diff for item in found) == 0
    assert OFF.span("a") is OFF.span("b")
