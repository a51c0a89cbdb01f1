"""What the tests of the S3 door share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def without_privileges() -> Iterator[None]:
    """Run the test as a user who may not read everything and not take any port, also where the suite runs as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
