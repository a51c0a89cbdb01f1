import json

import pytest

from tickvault.bench import s3
from tickvault.bench.machine import nginx_path


def _check(report: s3.Report, told: list[str]) -> None:
    rows = {row.name: row for row in report.rows}
    assert len(rows) == 11
    assert [row.name for row in report.rows if row.error_count] == []
    assert all(row.rate and row.rate > 0 for row in report.rows)
    assert rows["500 idle connections, answered afterwards"].rate == 500
    assert told
    json.loads(report.json_text())


@pytest.mark.skipif(nginx_path() is None, reason="nginx is not installed")
def test_a_quick_run_measures_every_row_beside_nginx(tmp_path):
    told: list[str] = []
    report = s3.run_s3(str(tmp_path), quick=True, progress=told.append)
    _check(report, told)
    assert all(row.limit for row in report.rows if row.name.startswith("GET"))
    assert list(tmp_path.iterdir()) == []


def test_without_nginx_its_limits_are_null_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "nginx_path", lambda: None)
    told: list[str] = []
    report = s3.run_s3(str(tmp_path), quick=True, progress=told.append)
    _check(report, told)
    gets = [row.as_json() for row in report.rows if row.name.startswith("GET")]
    assert gets
    assert all(row["limit"] is None and row["met"] is None for row in gets)
    assert any("nginx" in note for note in report.notes)
