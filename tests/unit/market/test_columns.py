"""Columns refuse what they cannot mean, and join to the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.columns import Columns
from tickvault.market.joining import join_columns
from tickvault.market.schema import PRICE_NULL, SCHEMAS, SIZE_NULL, TIME_NULL, Column, Kind, schema_of

TRADES = schema_of("trades")


def trades(times: list[int], dictionaries: Any = None, **arrays: Any) -> Columns:
    made = {"ts_event": np.array(times, np.int64)}
    for name, values in arrays.items():
        column = TRADES.column(name)
        assert column is not None
        made[name] = np.array(values, column.dtype)
    return Columns(TRADES, made, dictionaries)


def test_every_schema_names_each_column_once_and_has_its_times() -> None:
    for schema in SCHEMAS.values():
        names = [column.name for column in schema.columns]
        assert len(names) == len(set(names))
        assert names[:2] == ["ts_event", "ts_recv"]
        for column in schema.columns:
            assert column.dtype.byteorder in "<|="
            np.array([column.null], column.dtype)


def test_nulls_are_those_of_the_model() -> None:
    price, time, size = (TRADES.column(name) for name in ("price", "ts_recv", "size"))
    assert price is not None
    assert time is not None
    assert size is not None
    assert (time.null, price.null, size.null) == (-(2**63), 2**63 - 1, 2**63 - 1)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"price": np.zeros(3, np.float64), "ts_event": np.zeros(3, np.int64)}, "column price is float64"),
        ({"price": np.zeros(2, np.int64), "ts_event": np.zeros(3, np.int64)}, "different lengths: price 2, ts_event 3"),
        ({"prize": np.zeros(3, np.int64), "ts_event": np.zeros(3, np.int64)}, "has no column 'prize'; it has ts_event"),
        ({"price": np.zeros(3, np.int64)}, "need ts_event or ts_recv"),
        ({"exchange": np.zeros(3, np.int32), "ts_event": np.zeros(3, np.int64)}, "beyond its 0 strings"),
        ({"price": np.zeros((3, 1), np.int64), "ts_event": np.zeros(3, np.int64)}, "with 2 dimensions"),
    ],
)
def test_what_does_not_fit_is_told(arrays: dict[str, Any], told: str) -> None:
    with pytest.raises(tv.InvalidInputError, match=told):
        Columns(TRADES, arrays)


def test_rows_are_found_by_ts_recv_else_ts_event() -> None:
    assert trades([1, 2]).ts_index.tolist() == [1, 2]
    assert trades([1, 2], ts_recv=[5, TIME_NULL]).ts_index.tolist() == [5, 2]


def test_an_absent_column_is_null_throughout() -> None:
    rows = trades([1, 2])
    assert rows["price"].tolist() == [PRICE_NULL] * 2
    assert rows["exchange"].tolist() == [-1] * 2


def test_joining_unites_dictionaries_scales_and_absent_columns() -> None:
    first = trades([1, 2], {"exchange": ["P", "Q"]}, exchange=[1, -1], size=[3, SIZE_NULL])
    second = Columns(
        TRADES,
        {
            "ts_event": np.array([3], np.int64),
            "exchange": np.array([0], np.int32),
            "size": np.array([25], np.int64),
            "price": np.array([7], np.int64),
        },
        {"exchange": ["P"]},
        size_scale=10,
    )
    joined = join_columns([first, second])
    assert joined.size_scale == 10
    assert joined["size"].tolist() == [30, SIZE_NULL, 25]
    assert [joined.dictionaries["exchange"][code] if code >= 0 else None for code in joined["exchange"]] == [
        "Q",
        None,
        "P",
    ]
    assert joined["price"].tolist() == [PRICE_NULL, PRICE_NULL, 7]


def test_a_size_that_does_not_fit_the_finer_scale_is_told() -> None:
    coarse = trades([1], size=[2**62])
    fine = Columns(TRADES, {"ts_event": np.array([2], np.int64)}, size_scale=10**8)
    with pytest.raises(tv.InvalidInputError, match="size of trades does not fit"):
        join_columns([coarse, fine])


def test_two_meanings_of_one_name_are_told() -> None:
    times = {"ts_event": np.array([1], np.int64)}
    pieces = [
        Columns(TRADES, times | {"x": np.zeros(1, dtype)}, extensions=[Column("x", kind)])
        for kind, dtype in ((Kind.INT, np.int64), (Kind.CHAR, np.uint8))
    ]
    with pytest.raises(tv.InvalidInputError, match="column x is int"):
        join_columns(pieces)
