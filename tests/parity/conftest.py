"""What takes minutes waits for ``make verify``."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def at_length(request: pytest.FixtureRequest) -> None:
    """Skip where these tests were not asked for: their libraries may be installed all the same."""
    if "verify" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes: make verify")
