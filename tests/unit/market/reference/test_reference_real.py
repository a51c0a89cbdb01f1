"""Reference data of vendors: counts, published facts, and factors that are the file's own again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from tickvault.market.reference import DATABENTO_ACTIONS, DATABENTO_FACTORS, DATABENTO_SYMBOLS, Reference
from tickvault.market.reference.days import FOREVER

MEMBERS = {"symbol": "ticker", "start": "start_date", "end": "end_date"}


@pytest.fixture(scope="session")
def folder(market_data: Path) -> Path:
    return market_data / "reference"


def test_members_of_the_index_are_those_of_an_independent_count(reference: Reference, folder: Path) -> None:
    path = folder / "fja05680_sp500_ticker_start_end.csv"
    frame = pl.read_csv(path)
    assert reference.load_members(path, "sp500", MEMBERS).stored == len(frame)
    for day in ("1996-01-02", "2008-09-15", "2013-10-07", "2019-01-17", "2019-01-18", "2024-12-31"):
        there = frame.filter(
            (pl.col("start_date") <= day) & (pl.col("end_date").is_null() | (pl.col("end_date") > day))
        )
        assert reference.symbols_on(day, "sp500") == sorted(set(there["ticker"]))
    assert "PCG" in reference.symbols_on("2019-01-17", "sp500")
    assert "TFX" in reference.symbols_on("2019-01-18", "sp500")
    changes = reference.load_changes(
        folder / "fja05680_sp500_changes_since_2019.csv", "sp500", {"date": "date", "add": "add", "remove": "remove"}
    )
    assert changes.quarantined == 2, "two that were renamed go under a name that never came"
    assert "KMX" not in reference.symbols_on("2025-10-31", "sp500")


def test_sectors_are_read_with_their_quotes(reference: Reference, folder: Path) -> None:
    columns = {"symbol": "Symbol", "sector": "GICS Sector", "industry": "GICS Sub-Industry"}
    report = reference.load_sectors(folder / "sp500_constituents.csv", columns, date="2025-11-01")
    assert (report.stored, report.quarantined) == (503, 0)
    assert reference.sector("MMM", "2025-11-03").industry == "Industrial Conglomerates"


def test_tickers_lead_to_their_listing(reference: Reference, folder: Path) -> None:
    for path in sorted((folder / "map_files").glob("*.csv")):
        assert not reference.load_renames(path).quarantined, path
    assert reference.resolve("GOOG", "2014-04-02").identifier == "GOOGL"
    assert reference.resolve("GOOG", "2014-04-03").identifier == "GOOG"
    assert reference.symbol_of("TWX", "2002-01-02") == "AOL"
    assert [each.symbol for each in reference.history("TFCFA", "2019-03-20")] == ["NWSA", "FOXA", "TFCFA"]


def test_factors_are_the_files_own_again(reference: Reference, folder: Path) -> None:
    """The products of what we take from a file are the factors that it tells, to the digits it tells them with."""
    paths = sorted((folder / "factor_files").glob("*.csv"))
    assert len(paths) > 20
    for path in paths:
        reference.load_factors(path)
        symbol = path.name.removesuffix(".csv").upper()
        lines = [line.split(",") for line in path.read_text().split()]
        last = lines[-1][1:3]
        for day, price, split, _ in lines:
            after = [each for each in reference.actions(symbol) if each.ex_day.replace("-", "") > day]
            paid, made = Fraction(1), Fraction(1)
            for each in after:
                if each.kind == "split":
                    made /= each.split
                else:
                    paid *= 1 - Fraction(each.amount, each.close)
            assert float(paid) == pytest.approx(float(price) / float(last[0]), rel=1e-6), (symbol, day)
            assert float(made) == pytest.approx(float(split) / float(last[1]), rel=1e-3), (symbol, day)


def test_splits_that_everybody_knows(reference: Reference, folder: Path) -> None:
    for symbol in ("aapl", "aig", "uso"):
        reference.load_factors(folder / "factor_files" / f"{symbol}.csv")
    splits = {
        (symbol, each.ex_day): (each.numerator, each.denominator)
        for symbol in ("AAPL", "AIG", "USO")
        for each in reference.actions(symbol, kind="split")
    }
    assert splits[("AAPL", "2014-06-09")] == (7, 1)
    assert splits[("AAPL", "2020-08-31")] == (4, 1)
    assert splits[("AIG", "2009-07-01")] == (1, 20)
    assert splits[("USO", "2020-04-29")] == (1, 8)


def test_databento_reference_is_read(reference: Reference, folder: Path) -> None:
    vendor = folder / "databento_reference"
    for name, columns in (
        ("corporate-actions-pit", DATABENTO_ACTIONS),
        ("corporate-actions", DATABENTO_ACTIONS),
        ("adjustment-factors", DATABENTO_FACTORS),
    ):
        report = reference.load_actions(vendor / f"test_data.{name}.jsonl", columns, scheme="databento")
        assert (report.rows, report.quarantined) == (2, 0)
    assert [each.split for each in reference.actions("BRQS")] == [Fraction(1, 12)]
    assert reference.actions("BOMO", known_at="2023-10-10T04:37:13Z") == []
    assert [each.amount for each in reference.actions("MSFT")] == [100_000_000]
    reference.load_symbols(vendor / "test_data.security-master.jsonl", DATABENTO_SYMBOLS, scheme="databento")
    found = reference.resolve("AAPL_KZ", "2024-08-20")
    assert (found.identifier, found.venue, found.end) == ("L-135825", "XNAS", FOREVER)
