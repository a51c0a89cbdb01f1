from __future__ import annotations

import os
from pathlib import Path

from tickvault.audit.measure import measure


def test_figures_are_measured_and_nothing_is_kept(tmp_path: Path) -> None:
    figures = measure(str(tmp_path), block_records=50, blocks=3, rounds=1)
    assert all(value > 0 for value in figures)
    assert figures.append_us > figures.sync_us / 20
    assert os.listdir(tmp_path) == []
