import json

from tickvault.bench.security import run_security


def test_a_quick_run_measures_every_row_and_leaves_nothing(tmp_path):
    told: list[str] = []
    report = run_security(str(tmp_path), quick=True, progress=told.append)
    names = [row.name for row in report.rows]
    for beginning in (
        "audit records, encoded, chained, signed, synced",
        "audit trail verified",
        "audit record put into the ring",
        "put 4 KiB, strict, audited",
        "get 4 KiB, aes-256-gcm",
        "get 4 KiB, sm4-gcm",
        "seal 16 MiB, aes-256-gcm",
        "seal 16 MiB, sm4-gcm",
        "policy decision, 100 statements",
        "S3 GET 4 KiB",
        "S3 PUT 4 KiB",
    ):
        assert any(name.startswith(beginning) for name in names), (beginning, names)
    assert all(row.rate and row.rate > 0 for row in report.rows)
    assert all(row.met is not None for row in report.rows if row.conditions)
    assert not [note for note in report.notes if "×" in note], "wrong answers"
    assert told
    json.loads(report.json_text())
    assert list(tmp_path.iterdir()) == []
