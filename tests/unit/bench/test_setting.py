"""What every benchmark begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickvault.bench.setting import bench_setting


def test_everything_is_cleared_up(tmp_path: Path) -> None:
    ended: list[str] = []
    told: list[str] = []
    with pytest.raises(ZeroDivisionError), bench_setting(str(tmp_path), 1, quick=True, progress=told.append) as setting:
        setting.stack.callback(lambda: ended.append("server"))
        setting.progress("reads")
        assert Path(setting.folder).parent == tmp_path
        assert setting.report.rows == []
        raise ZeroDivisionError
    assert (ended, told) == (["server"], ["reads"])
    assert list(tmp_path.iterdir()) == []


def test_nobody_needs_to_be_told(tmp_path: Path) -> None:
    with bench_setting(str(tmp_path), 1, quick=False) as setting:
        setting.progress("reads")
