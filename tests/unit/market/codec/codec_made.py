"""Columns to write: some by hand, some by Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tickvault.market.codec import Identity
from tickvault.market.columns import Columns
from tickvault.market.schema import CODE_NULL, PRICE_NULL, SCHEMAS, TIME_NULL, Column, Kind, Schema, schema_of

DAY = 1_703_548_800_000_000_000
EXTENSIONS = (
    Column("note", Kind.CODE, "what somebody wrote"),
    Column("rank", Kind.INT, "of something", "<i2"),
    Column("weight", Kind.SIZE),
)


def trades(rows: int, seed: int = 1, **changed: Any) -> Columns:
    """Trades as they come: sorted times, prices on a tick, some sizes null, a constant column."""
    random = np.random.default_rng(seed)
    arrays = {
        "ts_event": DAY + np.cumsum(random.integers(0, 1_000, rows)) * 1_000_000,
        "price": (1_674_100 + np.cumsum(random.integers(-1, 2, rows))) * 10_000_000,
        "size": random.choice(np.array([100, 200, 300, 1_000], np.int64), rows),
        "side": random.choice(np.array([65, 66], np.uint8), rows),
        "flags": np.zeros(rows, np.uint8),
        "exchange": random.integers(CODE_NULL, 3, rows).astype(np.int32),
        "sequence": np.cumsum(random.integers(0, 3, rows)).astype(np.uint64),
        "instrument_id": np.full(rows, 7, np.uint32),
        "turnover": np.full(rows, np.iinfo(np.int64).max),
    }
    arrays["ts_recv"] = arrays["ts_event"] + random.integers(0, 100_000, rows)
    arrays["size"][random.random(rows) < 0.1] = np.iinfo(np.int64).max
    arrays |= changed
    return Columns(schema_of("trades"), arrays, {"exchange": ["P", "Q", "Zürich"]}, size_scale=10, turnover_scale=100)


def quotes(rows: int, seed: int = 2) -> Columns:
    """One-sided quotes: where the bid is there the ask is not."""
    random = np.random.default_rng(seed)
    is_bid = random.random(rows) < 0.5
    price = (49_000 + np.cumsum(random.integers(-1, 2, rows))) * 10_000_000
    return Columns(
        schema_of("bbo"),
        {
            "ts_event": DAY + np.cumsum(random.integers(0, 9, rows)) * 1_000_000,
            "bid_px_00": np.where(is_bid, price, PRICE_NULL),
            "ask_px_00": np.where(is_bid, PRICE_NULL, price),
            "bid_sz_00": np.where(is_bid, 100, PRICE_NULL),
            "ask_sz_00": np.where(is_bid, PRICE_NULL, 300),
        },
    )


def bars(rows: int, seed: int = 3) -> Columns:
    random = np.random.default_rng(seed)
    close = (1_000 + np.cumsum(random.integers(-50, 51, rows))) * 10_000_000
    opening = np.roll(close, 1) + random.integers(-3, 4, rows) * 10_000_000
    start = DAY + np.arange(rows) * 60_000_000_000
    return Columns(
        schema_of("ohlcv-1m"),
        {
            "ts_event": start,
            "ts_recv": start + 60_000_000_000,
            "open": opening,
            "high": np.maximum(opening, close) + random.integers(0, 5, rows) * 10_000_000,
            "low": np.minimum(opening, close) - random.integers(0, 5, rows) * 10_000_000,
            "close": close,
            "volume": random.integers(0, 5_000, rows),
        },
    )


def same(left: Columns, right: Columns) -> None:
    """Assert that rows are equal, absent columns being null."""
    assert left.schema == right.schema
    assert (left.size_scale, left.turnover_scale) == (right.size_scale, right.turnover_scale)
    assert len(left) == len(right)
    for name in {*left.arrays, *right.arrays}:
        one, other = left, right
        if name not in left.arrays:
            one, other = right, left
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        if name in left.arrays and name in right.arrays:
            assert left[name].dtype == right[name].dtype
            assert left.column(name).kind == right.column(name).kind
            assert left.dictionaries.get(name, []) == right.dictionaries.get(name, [])


def _values(column: Column, rows: int, words: int) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    if column.kind is Kind.CODE:
        lowest, highest = CODE_NULL, words - 1
    else:
        lowest, highest = int(np.iinfo(column.dtype).min), int(np.iinfo(column.dtype).max)
    small = st.integers(max(lowest, 0), max(min(highest, 3), max(lowest, 0)))
    if column.kind is Kind.CODE and not words:
        small = st.just(CODE_NULL)
    anything = st.one_of(
        st.sampled_from([lowest, highest, column.null]),
        st.integers(lowest, highest),
        small,
    )
    lists = st.one_of(
        st.lists(anything, min_size=rows, max_size=rows),
        anything.map(lambda value: [value] * rows),
        st.lists(small, min_size=rows, max_size=rows).map(sorted),
    )
    return lists.map(lambda numbers: np.array(numbers, column.dtype))


@st.composite
def any_columns(draw: st.DrawFn) -> Columns:
    """Columns of any schema, with any values, also none."""
    schema: Schema = draw(st.sampled_from(list(SCHEMAS.values())))
    rows = draw(st.one_of(st.sampled_from([0, 1, 2]), st.integers(0, 60)))
    known = [*schema.columns, *EXTENSIONS]
    names = draw(st.sets(st.sampled_from([column.name for column in known]), max_size=8))
    names |= draw(st.sampled_from([{"ts_event"}, {"ts_recv"}, {"ts_event", "ts_recv"}]))
    arrays, dictionaries = {}, {}
    for column in known:
        if column.name not in names:
            continue
        if column.kind is Kind.CODE:
            dictionaries[column.name] = draw(st.lists(st.text(max_size=5), max_size=4))
        words = len(dictionaries.get(column.name, []))
        arrays[column.name] = draw(_values(column, rows, words))
    scale = st.sampled_from([1, 10_000, 10**8, 10**12])
    return Columns(schema, arrays, dictionaries, EXTENSIONS, size_scale=draw(scale), turnover_scale=draw(scale))


@st.composite
def any_identity(draw: st.DrawFn, rows: int) -> Identity:
    number = st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1))
    sources = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    if draw(st.booleans()):
        first = draw(st.integers(0, 2**62))
        return Identity(np.array(sources, np.int64), first + np.arange(rows))
    return Identity(
        np.array(sources, np.int64), np.array(draw(st.lists(number, min_size=rows, max_size=rows)), np.int64)
    )


def times_with_null(rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    made = DAY + np.arange(rows, dtype=np.int64)
    made[::7] = TIME_NULL
    return made
