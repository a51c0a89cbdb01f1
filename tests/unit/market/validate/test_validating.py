"""Validation as a whole: reports, rules of one's own, the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tickvault as tv
from tickvault.market.catalog import SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.reference import Instrument
from tickvault.market.schema import schema_of
from tickvault.market.table import Table
from tickvault.market.times import to_ns
from tickvault.market.validate import (
    RULES,
    Found,
    Limits,
    QualityReport,
    Rows,
    Rule,
    Severity,
    ledger,
    record,
    register,
    unregister,
    validate,
)
from tickvault.objects.bucket import Bucket

NOON = to_ns("2024-01-10T17:00")
KEY = SeriesKey("XNAS", "X", "trades")


@pytest.fixture
def trades() -> Table:
    arrays = {
        "ts_event": NOON + np.arange(10, dtype=np.int64),
        "price": np.array([10**9, 0, 10**9, 0, 0, 0, 0, 0, 0, 3 * 10**8], np.int64),
        "size": np.array([5] * 10, np.int64),
        "exchange": np.zeros(10, np.int32),
    }
    return Table.of(Columns(schema_of("trades"), arrays, {"exchange": ["N"]}), "XNAS", "X")


def test_a_report_counts_and_shows(trades: Table) -> None:
    report = validate(trades, limits=Limits(examples=2))
    found = report["price_not_positive"]
    assert (found.count, found.share, found.first_ns, found.last_ns) == (7, 0.7, NOON + 1, NOON + 8)
    assert [example["row"] for example in found.examples] == [1, 3]
    assert found.examples[0]["ts_event"] == "2024-01-10T17:00:00.000000001Z"
    assert (found.examples[0]["exchange"], found.examples[0]["price"], found.examples[0]["size"]) == ("N", 0.0, 5.0)
    assert (report.rows, report.start_ns, report.end_ns) == (10, NOON, NOON + 9)
    assert [result.rule for result in report.flagged] == ["price_not_positive"]
    with pytest.raises(tv.NotFoundError, match="rule 'crossed' was not run"):
        _ = report["crossed"]


def test_a_report_reads_well(trades: Table) -> None:
    lines = repr(validate(trades)).splitlines()
    assert lines[0] == "XNAS/X/trades: 10 rows, 1 of 16 rules flagged rows"
    assert lines[1].split()[:4] == ["RULE", "SEVERITY", "ROWS", "SHARE"]
    assert lines[2].split()[:4] == ["price_not_positive", "warning", "7", "70.00%"]
    assert any(line.startswith("  clean: clock_back, time_absent") for line in lines)
    assert "  not checked: price_off_tick: no tick_size is given" in lines


def test_a_report_is_a_frame_and_a_record(trades: Table) -> None:
    report = validate(trades)
    frame = report.to_polars()
    row = frame.row(by_predicate=pl.col("rule") == "price_not_positive", named=True)
    assert (row["count"], row["first"].microsecond) == (7, 0)
    assert frame.filter(~frame["checked"])["count"].null_count() > 0
    assert QualityReport.from_dict(report.to_dict()) == report
    assert validate(trades.slice(0, 0)).to_polars()["count"].sum() == 0


def test_an_instrument_tells_tick_and_calendar(trades: Table) -> None:
    told = Instrument("XNAS", "X", tick_size=5 * 10**8, calendar="XHKG")
    report = validate(trades, instrument=told)
    assert report["price_off_tick"].rows.tolist() == [9]
    assert report["session_hours"].count == 10
    assert "calendar XHKG" in report["session_hours"].note
    with pytest.raises(tv.InvalidInputError, match="tick_size must be above 0"):
        validate(trades, limits=Limits(tick_size=0))


def test_rules_that_are_none_are_refused(trades: Table) -> None:
    with pytest.raises(tv.NotFoundError, match="there is no rule 'crosed'; the rules are clock_behind"):
        validate(trades, ["crosed"])
    with pytest.raises(tv.InvalidInputError, match="rule crossed is not for trades; it is for bbo"):
        validate(trades, ["crossed"])
    with pytest.raises(tv.InvalidInputError, match="there is no calendar 'XNIL'"):
        validate(trades, calendar="XNIL")


@pytest.fixture
def large() -> Iterator[Rule]:
    rule = Rule(
        "large_trade",
        "A trade above a limit of the firm's.",
        Severity.INFO,
        lambda rows: Found(rows["size"] > 4, "above 4"),
        frozenset({"trades"}),
        ("size",),
    )
    register(rule)
    yield rule
    unregister("large_trade")


def test_a_rule_of_ones_own_runs_by_default(trades: Table, large: Rule) -> None:
    report = validate(trades)
    assert (report["large_trade"].count, report["large_trade"].note) == (10, "above 4")
    with pytest.raises(tv.AlreadyExistsError, match="rule large_trade: there is one of that name"):
        register(large)
    with pytest.raises(tv.InvalidInputError, match="a name has lower-case letters"):
        register(Rule("Large Trade", "x.", Severity.INFO, large.find))
    with pytest.raises(tv.InvalidInputError, match="there is no schema ticks"):
        register(Rule("other", "x.", Severity.INFO, large.find, frozenset({"ticks"})))
    with pytest.raises(tv.NotFoundError, match="there is no rule 'other'"):
        unregister("other")
    assert "other" not in RULES


def test_a_rule_may_give_positions_and_must_give_sound_ones(trades: Table) -> None:
    def rule(find: object) -> Rule:
        return Rule("mine", "x.", Severity.INFO, find)  # type: ignore[arg-type]

    assert validate(trades, [rule(lambda rows: np.array([7, 3, 3]))])["mine"].rows.tolist() == [3, 7]
    with pytest.raises(tv.InvalidInputError, match="it flags row 10, and there are 10 rows"):
        validate(trades, [rule(lambda rows: np.array([10]))])
    with pytest.raises(tv.InvalidInputError, match=r"its mask has the shape \(3,\)"):
        validate(trades, [rule(lambda rows: np.ones(3, np.bool_))])


def test_rows_are_as_they_were(trades: Table) -> None:
    def meddle(rows: Rows) -> Found:
        rows["price"][0] = 5
        return Found(rows.nothing)

    with pytest.raises(ValueError, match="read-only"):
        validate(trades, [Rule("meddle", "x.", Severity.INFO, meddle)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Bucket]:
    with tv.open(tmp_path / "data") as vault:
        yield vault.create_bucket("library-x")


def test_the_ledger_keeps_every_report(trades: Table, store: Bucket) -> None:
    first, second = validate(trades), validate(trades.slice(0, 1))
    assert [record(store, KEY, report) for report in (first, second)] == [1, 2]
    strange = SeriesKey("XN/AS", "BTC USD", "trades")
    other = QualityReport(*strange, rows=0, start_ns=None, end_ns=None, results=())
    record(store, strange, other)
    entries = list(ledger(store))
    assert [(entry.key, entry.number) for entry in entries if entry.key == KEY] == [(KEY, 1), (KEY, 2)]
    assert {entry.key for entry in entries} == {KEY, strange}
    assert [entry.report for entry in ledger(store, "X")] == [first, second]
    assert [entry.report for entry in ledger(store, venue="XN/AS")] == [other]
    assert list(ledger(store, schema="bbo")) == []
    assert entries[0].recorded_ns > NOON
    with pytest.raises(tv.InvalidInputError, match="the report is of XNAS/X/trades, and not of XNAS/Y/trades"):
        record(store, SeriesKey("XNAS", "Y", "trades"), first)
