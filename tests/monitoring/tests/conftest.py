"""Prometheus, built at the first use; and an operator with a control plane of its own to look at."""

import pytest

from monitoring.programs import Programs, ensure_programs


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Programs:
    """Build what is missing with its progress shown: pytest would keep minutes of it to itself."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        return ensure_programs()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "monitoring/tests" in str(item.path):
            item.add_marker(pytest.mark.controlplane)
