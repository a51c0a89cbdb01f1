"""Rules on real rows: counted again by other means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import tickvault as tv
from tickvault.market.table import Table
from tickvault.market.validate import validate


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tv.Vault]:
    with tv.open(tmp_path_factory.mktemp("rules") / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def es(vault: tv.Vault, market_data: Path) -> Table:
    ticks = vault.library("cme")
    ticks.ingest(market_data / "databento" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    return ticks.read("ESH4", "mbo")


def test_daily_bars_are_counted_exactly(vault: tv.Vault, market_data: Path) -> None:
    """All 500 symbols: each defect of the file by polars, and by the rules over all series."""
    path = market_data / "us_eod" / "us_eod_500_2003_2017.parquet"
    eod = vault.library("eod")
    eod.ingest(path)
    # A file's columns may be in any case.
    frame = pl.read_parquet(path).rename(str.lower)
    high, low = pl.col("high"), pl.col("low")

    def outside(name: str) -> pl.Expr:
        return (pl.col(name) > high) | (pl.col(name) < low)

    counted = frame.select(
        zero_open=(pl.col("open") == 0).sum(),
        open_outside=(outside("open") & (pl.col("open") != 0)).sum(),
        close_outside=outside("close").sum(),
        high_below_low=(high < low).sum(),
        close_above_high=(pl.col("close") > high).sum(),
    ).row(0, named=True)
    rules = ("zero_open", "open_outside", "close_outside", "high_below_low")
    found = dict.fromkeys(rules, 0)
    rows = 0
    by_venue: dict[str, list[str]] = {}
    for key in eod.series():
        by_venue.setdefault(key.venue, []).append(key.symbol)
    for venue, symbols in by_venue.items():
        table = eod.read(symbols, "ohlcv-1d", venue=venue)
        report = validate(table, rules)
        rows += report.rows
        for rule in rules:
            found[rule] += report[rule].count
    assert rows == len(frame) == 1_573_115
    assert found == {rule: counted[rule] for rule in rules}
    assert found["zero_open"] > 5_000
    assert found["high_below_low"] > 0
    assert counted["close_above_high"] > 0


def test_repeated_sequences_of_es_are_no_fault(es: Table) -> None:
    numbers = es["sequence"]
    assert len(numbers) - len(set(numbers.tolist())) == 21_592
    report = validate(es)
    assert (report["sequence_reversal"].checked, report["sequence_reversal"].count) == (True, 0)
    assert not report["sequence_gap"].checked, "the channel carries other instruments"
    assert report["clock_behind"].count == report["clock_back"].count == 0
    assert report["price_null"].count == 0
    # The market opens at 17:00 in Chicago, with orders taken before it.
    frame = es.to_polars().with_row_index("row")
    early = frame.filter(
        (pl.col("flags") & 32 == 0) & (pl.col("ts_event") < pl.datetime(2023, 12, 25, 23, time_zone="UTC"))
    )
    assert report["session_hours"].rows.tolist() == early["row"].to_list()


def test_a_reversal_in_es_is_found(es: Table) -> None:
    """The harness catches what it is for: two live rows change places."""
    columns = es.to_columns()
    arrays = dict(columns.arrays)
    sequence = arrays["sequence"].copy()
    at = next(row for row in range(20_000, 60_000) if sequence[row] < sequence[row + 1])
    sequence[[at, at + 1]] = sequence[[at + 1, at]]
    arrays["sequence"] = sequence
    swapped = type(columns)(columns.schema, arrays, columns.dictionaries, columns.extensions)
    assert at + 1 in validate(Table.of(swapped, "GLBX", "ESH4"), ["sequence_reversal"])["sequence_reversal"].rows


def test_the_clock_of_the_binance_capture(vault: tv.Vault, market_data: Path) -> None:
    crypto = vault.library("binance")
    crypto.ingest(market_data / "binance" / "usdm_btcusdt_20240808.gz")
    for schema in ("bbo", "trades", "mbp-delta"):
        table = crypto.read("BTCUSDT", schema)
        report = validate(table)
        live = int((table["flags"] & 32 == 0).sum())
        assert report["clock_behind"].count == report["clock_offset"].count == live
        assert "1.26" in report["clock_offset"].note or "1.27" in report["clock_offset"].note
        assert "s behind the venue's" in report["clock_offset"].note
    assert report["update_gap"].count == 0
    assert report["price_null"].count == 0


def test_crossings_of_aig_are_counted_exactly(vault: tv.Vault, market_data: Path) -> None:
    ticks = vault.library("lean")
    ticks.ingest(market_data / "lean/equity/usa/tick/aig/20131007_quote.zip")
    table = ticks.read("AIG", "bbo")
    report = validate(table, ["crossed", "repeated_row"])
    frame = table.to_polars(prices="int").with_row_index("row")
    assert report["repeated_row"].count == len(frame) - frame.drop("row").n_unique()
    sides = frame.with_columns(
        bid=pl.col("bid_px_00").forward_fill().over("exchange"),
        ask=pl.col("ask_px_00").forward_fill().over("exchange"),
        after=pl.col("ts_event").shift(-1).over("exchange"),
        clock=pl.col("ts_event").dt.convert_time_zone("America/New_York").dt.time(),
    )
    crossed = sides.filter(
        (pl.col("bid") >= pl.col("ask"))
        & (pl.col("after").is_null() | (pl.col("after") != pl.col("ts_event")))
        & (pl.col("clock") >= pl.time(9, 30))
        & (pl.col("clock") < pl.time(16))
    )
    assert report["crossed"].rows.tolist() == crossed["row"].to_list()
    assert report["crossed"].count > 10_000
    locked = int((crossed["bid"] == crossed["ask"]).sum())
    assert report["crossed"].note.startswith(f"{locked:,} of them locked")
