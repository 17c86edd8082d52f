"""`pytest tests/golden --refresh-golden` writes the expected files anew; read the diff before you keep it."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write the expected files of the golden tests anew")


@pytest.fixture
def refresh(request: pytest.FixtureRequest) -> bool:
    """Tell whether to write; without a path on the command line this file is read too late for the option."""
    return bool(request.config.getoption("--refresh-golden", default=False))
