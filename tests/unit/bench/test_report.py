import json

from tickvault.bench.report import Report, at_least, at_most, row_of
from tickvault.bench.rounds import Sample

JSON_FIELDS = ["name", "p50", "p99", "rate", "unit", "limit", "ratio", "goal", "met"]


def _report() -> Report:
    report = Report({"cpu": "a cpu", "core_count": 2, "load_average": 0.1, "python": "3.11"})
    report.rows = [
        row_of(
            "get",
            Sample(4.0, 20.0, 250_000.0),
            at_most("p50", 5),
            at_most("p99", 15),
            at_least("rate", 200_000),
            limit=2.0,
        ),
        row_of("put", Sample(80.0, 150.0, 12_000.0), at_most("above_limit", 250), limit=60.0),
        row_of("list", Sample(None, None, 300_000.0), at_least("rate", 200_000), unit="keys/s"),
        row_of("for information", Sample(1.0, 2.0, 3.0)),
    ]
    return report


def test_json_is_one_object_with_the_agreed_fields():
    told = json.loads(_report().json_text())
    assert list(told) == ["machine", "rows"]
    assert all(list(row) == JSON_FIELDS for row in told["rows"])
    assert told["machine"]["notes"] == []


def test_a_goal_is_met_only_when_each_condition_holds():
    rows = {row.name: row for row in _report().rows}
    assert rows["get"].met is False  # p99 is above 15 µs
    assert rows["put"].met is True
    assert rows["list"].met is True
    assert rows["for information"].met is None
    assert not _report().met


def test_ratio_compares_latency_or_rate_with_the_limit():
    assert row_of("a", Sample(6.0, 9.0, 5.0), limit=3.0).ratio == 2.0
    assert row_of("a", Sample(6.0, 9.0, 5.0), limit=3.0, compared="p99").ratio == 3.0
    assert row_of("a", Sample(6.0, 9.0, 50.0), limit=100.0, unit="keys/s").ratio == 0.5
    assert row_of("a", Sample(6.0, 9.0, 50.0)).ratio is None


def test_a_goal_without_its_limit_is_neither_met_nor_missed():
    row = row_of("GET", Sample(40.0, 90.0, 20_000.0), at_most("ratio", 2.2), limit=None)
    assert row.met is None
    assert row.as_json()["limit"] is None


def test_a_wrong_answer_misses_every_goal():
    row = row_of("GET", Sample(1.0, 1.0, 1e6), at_least("rate", 1), error_count=1)
    assert row.met is False


def test_goals_are_told_in_words():
    words = {row.name: row.goal for row in _report().rows}
    assert words["get"] == "p50 ≤ 5 µs, p99 ≤ 15 µs, ≥ 200,000/s"
    assert words["put"] == "p50 ≤ limit + 250 µs"
    assert words["list"] == "≥ 200,000 keys/s"
    assert words["for information"] == ""
    assert row_of("x", Sample(1.0, 1.0, 1.0), at_most("ratio", 1.6)).goal == "≤ 1.6 × limit"


def test_the_table_has_a_line_for_each_row_and_shows_what_failed():
    report = _report()
    report.notes.append("nginx is not installed")
    lines = report.table_text().splitlines()
    body = [line for line in lines if line.startswith(("get", "put", "list", "for information"))]
    assert len(body) == 4
    assert body[0].endswith("NO")
    assert body[1].endswith("yes")
    # The words of the goal begin in one column.
    assert len({line.index(row.goal) for line, row in zip(body[:3], report.rows[:3], strict=True)}) == 1
    assert lines[-1] == "note: nginx is not installed"


def test_a_busy_machine_and_a_quick_run_are_said():
    report = _report()
    report.note_circumstances(quick=False)
    assert report.notes == []
    report.machine["load_average"] = 1.5
    report.note_circumstances(quick=True)
    assert [note.split(":")[0].split(" (")[0] for note in report.notes] == [
        "a quick run",
        "the machine was busy with other work",
    ]
