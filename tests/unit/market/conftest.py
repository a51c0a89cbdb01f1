"""What the tests of the market room share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Return the folder of real market data, which is no part of the repository."""
    told = os.environ.get("TICKVAULT_MARKET_DATA")
    folder = Path(told) if told else Path(__file__).parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("NOT TESTED: there is no market data here; TICKVAULT_MARKET_DATA names its folder")
    return folder
