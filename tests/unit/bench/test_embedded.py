import json

from tickvault.bench.embedded import run_embedded


def test_a_quick_run_measures_every_row_and_leaves_nothing(tmp_path):
    told: list[str] = []
    report = run_embedded(str(tmp_path), quick=True, progress=told.append)
    rows = {row.name: row for row in report.rows}
    assert {
        "get 4 KiB, verified",
        "get_many of 1,000, one process",
        "get_many of 1,000, two processes",
        "put 4 KiB, strict",
        "put 4 KiB beside a busy Python thread",
        "put 4 KiB, strict, 4 processes",
        "put_many of 100, strict",
        "put 4 KiB, relaxed",
        "list a bucket of 1,000 keys",
    } <= set(rows)
    assert all(row.rate and row.rate > 0 for row in report.rows)
    assert all(row.met is not None for row in report.rows if row.conditions)
    assert told
    json.loads(report.json_text())
    assert list(tmp_path.iterdir()) == []
