"""Rules at the command line, and the ledger of what they flagged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]

BARS = """exchange,symbol,date,open,high,low,close,volume
NASDAQ,AAPL,2013-10-07,0,10.5,10.0,10.2,100
NASDAQ,AAPL,2013-10-08,10.1,10.5,10.0,10.6,100
NASDAQ,AAPL,2013-10-09,10.1,10.0,10.5,10.2,100
NASDAQ,MSFT,2013-10-07,10.1,10.5,10.0,10.2,100
"""


@pytest.fixture
def eod(tickvault: Type, folder: Path) -> Type:
    (folder / "bars.csv").write_text(BARS)
    tickvault("ingest", "bars.csv", "--library", "eod")
    return tickvault


def test_one_series_is_told_with_examples(eod: Type) -> None:
    done = eod("validate", "AAPL", "--library", "eod")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("NASDAQ/AAPL/ohlcv-1d: 3 rows, 4 of ")
    assert lines[1].split() == ["RULE", "SEVERITY", "ROWS", "SHARE", "FIRST", "(UTC)", "NOTE"]
    counts = {line.split()[0]: line.split()[2] for line in lines[2:6]}
    assert counts == {"zero_open": "1", "close_outside": "2", "open_outside": "1", "high_below_low": "1"}
    assert "\nzero_open: The open is 0: the source had none, and wrote a number.\n" in done.stdout
    assert any(
        line.split() == ["row", "ts_event", "ts_recv", "open", "high", "low", "close", "volume"] for line in lines
    )
    assert done.stderr == "3 rows of 1 series looked at\n"
    brief = eod("validate", "AAPL", "--library", "eod", "--examples", "0", "--rule", "zero_open").stdout.splitlines()
    assert len(brief) == 3


def test_many_series_are_told_in_few_lines(eod: Type) -> None:
    done = eod("validate", "--library", "eod", "--schema", "ohlcv-1d")
    assert "MSFT" not in done.stdout, "nothing is flagged"
    assert "zero_open: 1 row\n" in done.stderr
    assert "4 rows of 2 series looked at" in done.stderr


def test_json_holds_the_whole_report(eod: Type) -> None:
    reports = eod("validate", "--library", "eod", "--json").json_lines
    assert [(report["symbol"], report["rows"]) for report in reports] == [("AAPL", 3), ("MSFT", 1)]
    zero = next(rule for rule in reports[0]["rules"] if rule["rule"] == "zero_open")
    assert (zero["count"], zero["severity"], zero["examples"][0]["open"]) == (1, "error", 0.0)


def test_a_range_and_a_tick_size(eod: Type) -> None:
    line = ("validate", "AAPL", "--library", "eod", "--start", "2013-10-09", "--rule", "price_off_tick", "--json")
    (report,) = eod(*line, "--tick-size", "0.25").json_lines
    assert (report["rows"], report["rules"][0]["count"]) == (1, 1)
    (report,) = eod(*line, "--tick-size", "0.1").json_lines
    assert report["rules"][0]["count"] == 0


def test_reports_are_recorded_and_listed(eod: Type) -> None:
    assert eod("quality", "--library", "eod", "--flags").stderr == "0 reports in the ledger\n"
    eod("validate", "--library", "eod", "--record")
    eod("validate", "AAPL", "--library", "eod", "--record", "--rule", "zero_open")
    listed = eod("quality", "--library", "eod", "--flags")
    head, *lines = listed.stdout.splitlines()
    assert head.split()[:3] == ["VENUE", "SYMBOL", "SCHEMA"]
    assert sum("zero_open" in line for line in lines) == 2
    assert any(line.endswith("nothing flagged") for line in lines)
    assert listed.stderr == "3 reports in the ledger\n"
    told = eod("quality", "--library", "eod", "--flags", "--symbol", "AAPL", "--json").json_lines
    assert [entry["number"] for entry in told] == [1, 2]
    assert told[1]["rules"][0]["count"] == 1


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        (("validate", "NOPE", "--library", "eod"), 3, "validate NOPE: there is no such series in library eod"),
        (("validate", "--library", "none"), 3, "there is no library none; the libraries are eod"),
        (("validate", "AAPL", "--library", "eod", "--rule", "x"), 3, "there is no rule 'x'; the rules are"),
        (("validate", "AAPL", "--library", "eod", "--rule", "crossed"), 2, "rule crossed is not for ohlcv-1d"),
        (("validate", "AAPL", "--library", "eod", "--calendar", "x"), 2, "there is no calendar 'x'"),
        (("validate", "AAPL", "--library", "eod", "--tick-size", "zero"), 2, "--tick-size zero: give a price above 0"),
        (("quality", "--library", "eod", "--symbol", "AAPL"), 2, "--symbol and --schema go with --flags"),
    ],
)
def test_errors_say_what_to_do(eod: Type, line: tuple[str, ...], status: int, told: str) -> None:
    failed = eod(*line, status=None)
    assert failed.status == status
    assert told in failed.stderr
