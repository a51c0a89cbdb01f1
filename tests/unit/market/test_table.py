"""A table: numbers as stored, frames as people want them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tickvault as tv
from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table, columns_that_fit

SCHEMA = schema_of("trades")
NOON = 1_703_592_000_000_000_000


def rows(times: list[int], words: list[str], **more: Any) -> Columns:
    count = len(times)
    return Columns(
        SCHEMA,
        {
            "ts_event": np.array(times, np.int64),
            "price": np.array(more.get("price", [4_800_250_000_000] * count), np.int64),
            "size": np.array(more.get("size", [15] * count), np.int64),
            "side": np.array([ord("B")] * count, np.uint8),
            "conditions": np.array([number % len(words) for number in range(count)], np.int32),
        },
        {"conditions": words},
        size_scale=more.get("size_scale", 1),
    )


@pytest.fixture
def table() -> Table:
    first = rows([NOON, NOON + 1], ["F", "I"], price=[4_800_250_000_000, PRICE_NULL])
    second = rows([NOON + 2, TIME_NULL], ["I"], size=[25, SIZE_NULL], size_scale=10)
    return Table(SCHEMA, [first, second], "XCME", "ESH4")


def test_numbers_come_as_they_are_stored(table: Table) -> None:
    assert len(table) == 4
    assert table.columns == ("ts_event", "price", "size", "side", "conditions")
    assert table["size"].tolist() == [150, 150, 25, SIZE_NULL]
    assert table.size_scale == 10
    assert [table.strings("conditions")[code] for code in table["conditions"]] == ["F", "I", "I", "I"]
    assert table["ts_index"].tolist() == [NOON, NOON + 1, NOON + 2, TIME_NULL]
    assert table["sequence"].tolist() == [2**64 - 1] * 4
    with pytest.raises(ValueError, match="read-only"):
        table["price"][0] = 1


def test_one_piece_is_not_copied() -> None:
    piece = rows([NOON], ["F"])
    table = Table(SCHEMA, [piece])
    assert np.shares_memory(table["price"], piece.arrays["price"])
    assert np.shares_memory(table.slice(0, 1)["price"], piece.arrays["price"])


@pytest.mark.parametrize(("start", "end"), [(0, 4), (1, 3), (2, 4), (3, 3), (0, 1), (-1, 99), (-3, -1)])
def test_a_slice_is_the_same_rows(table: Table, start: int, end: int) -> None:
    part = table.slice(start, end)
    for name in ("ts_event", "price", "size", "side", "ts_index", "ts_recv"):
        assert part[name].tolist() == table[name].tolist()[start:end]
    assert part.to_polars().equals(table.to_polars()[start:end])


def test_rows_of_several_pieces_stand_in_the_order_given() -> None:
    pieces = [rows([1, 5, 5], ["A"], size=[1, 2, 3]), rows([0, 5, 9], ["B"], size=[4, 5, 6])]
    table = Table(SCHEMA, pieces, order=np.array([3, 0, 1, 2, 4, 5]))
    assert table["size"].tolist() == [4, 1, 2, 3, 5, 6]
    assert [table.strings("conditions")[code] for code in table["conditions"]] == ["B", "A", "A", "A", "B", "B"]
    assert table.slice(1, 3)["size"].tolist() == [1, 2]


def test_frames_show_floats_and_timestamps_and_nulls(table: Table) -> None:
    frame = table.to_polars()
    assert frame["price"].to_list() == [4800.25, None, 4800.25, 4800.25]
    assert frame["size"].to_list() == [15.0, 15.0, 2.5, None]
    assert frame["ts_event"].dtype == pl.Datetime("ns", "UTC")
    assert frame["ts_event"].null_count() == 1
    assert frame["side"].cast(pl.String).to_list() == ["B"] * 4
    pandas = table.to_pandas(tz="America/New_York")
    assert pandas["ts_event"][0] == pd.Timestamp("2023-12-26 07:00", tz="America/New_York")
    assert pandas["conditions"].tolist() == ["F", "I", "I", "I"]
    assert table.to_pandas(prices="int")["price"].isna().sum() == 1


def test_arrow_with_nulls_marked_or_as_numbers(table: Table) -> None:
    marked = table.to_arrow()
    assert marked["price"].null_count == 1
    assert marked["price"].type == pa.int64()
    assert table.to_arrow(nulls=False)["price"].to_pylist()[1] == PRICE_NULL
    assert pa.table(table).equals(marked)


def test_no_rows_is_a_table_too() -> None:
    empty = Table(SCHEMA, [])
    assert len(empty) == 0
    assert empty["price"].dtype == np.int64
    assert empty.to_polars().height == 0
    assert "0 rows" in repr(empty)


def test_what_is_no_column_is_told(table: Table) -> None:
    with pytest.raises(tv.InvalidInputError, match="trades has no column 'prize'; it has ts_event"):
        table["prize"]
    with pytest.raises(tv.InvalidInputError, match="price of trades holds numbers"):
        table.strings("price")


def test_a_column_beyond_the_schema_comes_too() -> None:
    suspicious = Column("suspicious", Kind.INT, width="|u1")
    piece = Columns(
        SCHEMA,
        {"ts_event": np.array([1], np.int64), "suspicious": np.array([1], np.uint8)},
        extensions=[suspicious],
    )
    table = Table(SCHEMA, [piece, rows([2], ["F"])])
    assert table["suspicious"].tolist() == [1, 255]
    assert "suspicious" in table
    assert table.to_polars()["suspicious"].to_list() == [1, None]


def test_it_shows_itself(table: Table) -> None:
    text = repr(table)
    assert "<Table XCME/ESH4/trades: 4 rows, 5 columns" in text
    assert "4800.25" in text


def test_texts_are_one_a_row(table: Table) -> None:
    """`strings` was taken for a text a row, and t.strings("side") refused; no call gave what was looked for."""
    assert table.texts("conditions").tolist() == ["F", "I", "I", "I"]
    assert table.texts("side").tolist() == ["B"] * 4
    none = Table.of(Columns(SCHEMA, {"ts_event": np.array([1, 2], np.int64)}))
    assert none.texts("conditions").tolist() == none.texts("side").tolist() == [None, None]
    assert Table(SCHEMA, []).texts("conditions").tolist() == []
    with pytest.raises(tv.InvalidInputError, match="price of trades holds numbers"):
        table.texts("price")


def test_many_columns_are_shown_as_far_as_they_fit() -> None:
    """Rows of 66 columns were shown in lines of many hundred letters, which every terminal broke."""
    schema = schema_of("mbp-10")
    arrays = {column.name: np.zeros(20, column.dtype) for column in schema.columns if column.kind is not Kind.CODE}
    text = repr(Table.of(Columns(schema, arrays)))
    lines = text.splitlines()[1:]
    assert max(map(len, lines)) <= 160
    shown = len(lines[0].split())
    assert lines[-1] == f"and {len(arrays) - shown} columns more; read with columns=[…] to choose"
    frame = Table.of(Columns(schema, arrays)).to_polars()
    assert columns_that_fit(frame, 10**6) == frame.columns
    assert columns_that_fit(frame, 1) == frame.columns[:1]
