"""Daily bars: sessions, impossible values that stay, what is refused; and the real file against polars, every row."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.feeds.daily import DailyFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.stamps import wall_to_utc
from tickvault.market.feeds.tabular import exact
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL

HEADER = "symbol,Date,Exchange,open,high,low,close,volume,sector"
NEW_YORK = ZoneInfo("America/New_York")


def decoded(path: Path, **options: Any) -> tuple[int, list[Piece], list[Quarantined]]:
    source = Source(path)
    assert DailyFeed().recognises(source)
    parts = list(DailyFeed().decode(source, IngestOptions(**options)))
    return (
        sum(part.rows for part in parts if isinstance(part, Counted)),
        [part for part in parts if isinstance(part, Piece)],
        [part for part in parts if isinstance(part, Quarantined)],
    )


def utc_ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))) // timedelta(microseconds=1) * 1000


def test_bars_of_csv_by_symbol_with_new_yorks_session_across_a_change_of_the_clock(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        f"{HEADER}\nIBM,2017-03-10,NYSE,177.21,178,0,177.83,3702000,x\nAAPL,20170310,NASDAQ,1e2,1,2,,7.0,\n"
        "IBM,2017.03.13,NYSE,0,176.5,175.0,176.46,0,x\n"
    )
    count, pieces, bad = decoded(tmp_path / "a.csv")
    assert (count, bad) == (3, [])
    ibm, aapl = pieces
    assert (ibm.venue, ibm.symbol, aapl.venue, aapl.symbol) == ("NYSE", "IBM", "NASDAQ", "AAPL")
    assert ibm.ordinals.tolist() == [0, 2] and aapl.ordinals.tolist() == [1]
    days = (date(2017, 3, 10), date(2017, 3, 13))
    for name, hour, minute in (("ts_event", 9, 30), ("ts_recv", 16, 0)):
        wanted = [utc_ns(datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)) for day in days]
        assert ibm.columns[name].tolist() == wanted
    assert ibm.columns["open"].tolist() == [177_210_000_000, 0]
    assert ibm.columns["low"].tolist() == [0, 175_000_000_000]
    assert aapl.columns["close"].tolist() == [PRICE_NULL] and aapl.columns["open"].tolist() == [10**11]
    assert aapl.columns["volume"].tolist() == [7]


def test_elsewhere_the_zone_is_asked_for_and_the_bar_is_the_whole_day(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}\nBMW,2024-03-31,XETR,1,1,1,1,1,\n")
    with pytest.raises(InvalidInputError, match=r"XETR.*tz="):
        decoded(tmp_path / "a.csv")
    with pytest.raises(InvalidInputError, match="no zone"):
        decoded(tmp_path / "a.csv", tz="Europe/Nowhere")
    (piece,) = decoded(tmp_path / "a.csv", tz="Europe/Berlin")[1]
    # The clock is set forward on that day: it has 23 hours.
    assert (piece.columns["ts_recv"] - piece.columns["ts_event"]).tolist() == [23 * 3600 * 10**9]


def test_rows_that_cannot_be_kept_are_quarantined(tmp_path: Path) -> None:
    good = "IBM,2017-03-10,NYSE,1,1,1,1,1,x"
    bad = [
        good.replace("2017-03-10", "2017-02-30"),
        good.replace("IBM", ""),
        good + ",",
        good.replace(",1,x", ",1.5,x"),
    ]
    (tmp_path / "a.csv").write_text("\n".join([HEADER, good, *bad, good, "", "IBM,2017-"]))
    count, pieces, found = decoded(tmp_path / "a.csv")
    assert count == 6 and pieces[0].ordinals.tolist() == [0, 1]
    assert [each.raw.decode() for each in found] == [*bad, "IBM,2017-"]
    assert [each.row for each in found] == [1, 2, 3, 4, 6]


def test_parquet_nan_and_null_are_null_and_infinity_is_quarantined(tmp_path: Path) -> None:
    table = pa.table(
        {
            "exchange": pa.array(["NYSE"] * 4).dictionary_encode(),
            "symbol": ["A", "B", "A", "A"],
            "date": pa.array([date(2024, 1, 2)] * 3 + [None]),
            "open": [16.59, float("nan"), float("inf"), 1.0],
            "high": [299080.0, None, 1.0, 1.0],
            "low": pa.array([16.59, 0.1, 1.0, 1.0], pa.float32()),
            "close": pa.array([Decimal("1.10"), Decimal("2.20"), None, None], pa.decimal128(9, 2)),
            "volume": pa.array([5.0, None, 1.0, 1.0]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    count, pieces, bad = decoded(tmp_path / "a.parquet")
    assert count == 4 and [(each.row, b"inf" in each.raw) for each in bad] == [(2, True), (3, False)]
    first, second = (piece.columns for piece in pieces)
    assert [first[name].tolist() for name in ("open", "high", "low", "close", "volume")] == [
        *([16_590_000_000], [299_080 * 10**9], [16_590_000_000], [1_100_000_000], [5])
    ]
    assert [second[name].tolist() for name in ("open", "high", "low", "close", "volume")] == [
        *([PRICE_NULL], [PRICE_NULL], [100_000_000], [2_200_000_000], [SIZE_NULL])
    ]
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    assert not DailyFeed().recognises(Source(tmp_path / "cut.parquet"))
    with pytest.raises(IntegrityError):
        list(DailyFeed().decode(Source(tmp_path / "cut.parquet"), IngestOptions()))


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    pq.write_table(pa.table({"symbol": ["A"], "date": ["x"]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("symbol,date,open,high,low,close,volume\nA,2024-01-02,1,1,1,1,1\n")
    (tmp_path / "c.csv").write_text("")
    for name in ("a.parquet", "b.csv", "c.csv"):
        assert not DailyFeed().recognises(Source(tmp_path / name))
    with pytest.raises(InvalidInputError, match="exchange"):
        list(DailyFeed().decode(Source(tmp_path / "b.csv"), IngestOptions()))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1), st.integers(0, 9))
def test_floats_are_the_shortest_decimal_that_they_are(values: list[float], digits: int) -> None:
    out, good = exact(np.array(values), digits)
    for value, units, right in zip(values, out.tolist(), good.tolist(), strict=True):
        scaled = Decimal(repr(value)).scaleb(digits)
        wanted = int(abs(scaled) + Decimal("0.5")) if abs(scaled) < 10**20 else 2**70
        wanted = -wanted if value < 0 else wanted
        assert right == (abs(wanted) < 2**63 - 1)
        assert not right or units == wanted


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1), st.integers(0, 9))
def test_narrow_floats_are_the_shortest_decimal_of_their_width(values: list[float], digits: int) -> None:
    narrow = np.array(values, np.float32)
    out, good = exact(narrow, digits)
    for value, units, right in zip(narrow, out.tolist(), good.tolist(), strict=True):
        scaled = Decimal(str(value)).scaleb(digits)
        wanted = int(scaled.to_integral_value(ROUND_HALF_UP)) if abs(scaled) < 10**20 else 2**70
        assert right == (abs(wanted) < 2**63 - 1)
        assert not right or units == wanted


@given(st.integers(-(10**12), 10**15), st.sampled_from([2, 3, 4]))
def test_floats_of_short_decimals_come_back(units: int, digits: int) -> None:
    out, good = exact(np.array([units / 10**digits]), 9)
    if abs(units) < 9 * 10 ** (9 + digits):
        assert good[0] and int(out[0]) == units * 10 ** (9 - digits)


@given(st.lists(st.integers(0, 2 * 10**9), min_size=1), st.sampled_from(["America/New_York", "Asia/Kolkata", "UTC"]))
def test_wall_clocks_become_utc_as_zoneinfo_says(seconds: list[int], tz: str) -> None:
    begin = datetime(1970, 1, 1)
    wanted = [utc_ns((begin + timedelta(seconds=each)).replace(tzinfo=ZoneInfo(tz))) for each in seconds]
    times = np.array([*(each * 10**9 for each in seconds), TIME_NULL])
    assert wall_to_utc(times, tz).tolist() == [*wanted, TIME_NULL]


def test_real_file_against_polars(market_data: Path) -> None:
    (path,) = (market_data / "us_eod").glob("*.parquet")
    count, pieces, bad = decoded(path)
    assert (count, bad, len(pieces)) == (1_573_115, [], 500)
    frame = pl.read_parquet(path).with_row_index("ordinal")
    frame = frame.with_columns(
        pl.col("exchange", "symbol").cast(pl.String),
        *(
            pl.col("date").dt.combine(clock).dt.replace_time_zone("America/New_York").dt.epoch("ns").alias(name)
            for name, clock in (
                ("ts_event", datetime(1, 1, 1, 9, 30).time()),
                ("ts_recv", datetime(1, 1, 1, 16).time()),
            )
        ),
    )
    units = Decimal(10**9)
    wanted = {}
    for name in ("open", "high", "low", "close"):
        values, inverse = np.unique(frame[name].to_numpy(), return_inverse=True)
        wanted[name] = np.array([int(Decimal(repr(each)) * units + Decimal("0.5")) for each in values.tolist()])[
            inverse
        ]
    seen = 0
    for (exchange, symbol), rows in frame.group_by("exchange", "symbol", maintain_order=True):
        (piece,) = [each for each in pieces if (each.venue, each.symbol) == (exchange, symbol)]
        seen += len(piece.columns)
        assert np.array_equal(piece.ordinals, rows["ordinal"].to_numpy())
        for name in ("ts_event", "ts_recv", "volume"):
            assert np.array_equal(piece.columns[name], rows[name].to_numpy()), name
        for name in ("open", "high", "low", "close"):
            assert np.array_equal(piece.columns[name], wanted[name][piece.ordinals]), name
    assert seen == count
