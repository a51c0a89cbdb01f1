"""Kernels of rules and of adjustment against plain Python."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tickvault as tv
from tickvault.market.columns import Columns
from tickvault.market.reference import Action, adjust
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, schema_of
from tickvault.market.table import Table
from tickvault.market.times import to_ns
from tickvault.market.validate import kernels

DAY = 86_400 * 10**9
FIRST = to_ns("2020-01-01")
SIDES = st.one_of(st.just(PRICE_NULL), st.integers(1, 5))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), SIDES, SIDES), max_size=30), st.booleans())
def test_crossed(rows: list[tuple[int, int, int]], carried: bool) -> None:
    out = np.empty(len(rows), np.uint8)
    groups, bids, asks = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    kernels.crossed(groups, 3, bids, asks, carried, np.int64(PRICE_NULL), out)
    last: dict[int, list[int]] = {}
    for (group, bid, ask), found in zip(rows, out.tolist(), strict=True):
        sides = last.setdefault(group, [PRICE_NULL, PRICE_NULL])
        for at, side in enumerate((bid, ask)):
            if side != PRICE_NULL or not carried:
                sides[at] = side
        known = PRICE_NULL not in sides
        assert found == (0 if not known or sides[0] < sides[1] else 1 if sides[0] > sides[1] else 2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=60), st.integers(2, 6))
def test_outliers(values: list[int], half: int) -> None:
    out = np.empty(len(values), np.bool_)
    kernels.outliers(np.array(values, np.float64), half, 3.0, 0.1, out)
    for row, value in enumerate(values):
        window = values[max(row - half, 0) : row + half + 1]
        middle = sorted(window)[len(window) // 2]
        spread = sorted(abs(each - middle) for each in window)[len(window) // 2]
        far = abs(value - middle) > 0.1 * middle and abs(value - middle) > 3.0 * 1.4826 * spread
        if out[row]:
            assert far
            assert len(window) >= 5
        elif far and len(window) >= 5:
            near = [abs(value - values[at]) <= 0.025 * value for at in (row - 1, row + 1) if 0 <= at < len(values)]
            assert all(near), "only a value between two that are as far is passed over"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(-(10**14), 10**14), st.integers(0, 10**9)), min_size=1, max_size=20
    ),
    st.lists(
        st.tuples(st.integers(1, 39), st.integers(1, 300), st.integers(1, 300), st.booleans(), st.integers(0, 10**6)),
        max_size=6,
        unique_by=lambda action: action[0],
    ),
    st.integers(0, 41),
)
def test_adjusted_numbers_are_the_exact_ones_rounded_once(
    rows: list[tuple[int, int, int]], events: list[tuple[int, int, int, bool, int]], on: int
) -> None:
    def day(number: int) -> str:
        return str(np.datetime64("2020-01-01") + number)

    actions = [
        Action("A", "split", day(at), numerator=new, denominator=old)
        if split
        else Action("A", "dividend", day(at), amount=paid, close=10**6 + 1)
        for at, new, old, split, paid in events
    ]
    arrays = {
        "ts_event": np.array([FIRST + at * DAY for at, _, _ in rows], np.int64),
        "price": np.array([price for _, price, _ in rows], np.int64),
        "size": np.array([size for _, _, size in rows], np.int64),
    }
    table = Table.of(Columns(schema_of("trades"), arrays), "BINANCE", "A")
    expected = []
    for at, price, size in rows:
        prices, sizes = Fraction(1), Fraction(1)
        for when, new, old, split, paid in events:
            step = Fraction(old, new) if split else 1 - Fraction(paid, 10**6 + 1)
            power = (at < when <= on) - (on < when <= at)
            prices *= step**power
            sizes *= Fraction(new, old) ** power if split else 1
        expected.append((round(price * prices), round(size * sizes)))
    fits = all(abs(price) < PRICE_NULL and size < SIZE_NULL for price, size in expected)
    if not fits:
        with pytest.raises(tv.InvalidInputError, match="does not fit 63 bits"):
            adjust(table, actions, kind="total", on=day(on))
        return
    try:
        made = adjust(table, actions, kind="total", on=day(on))
    except tv.InvalidInputError:
        # What is within a rounding of 63 bits may be refused.
        assume(any(max(abs(price), size) > PRICE_NULL // 2 for price, size in expected))
        return
    assert list(zip(made["price"].tolist(), made["size"].tolist(), strict=True)) == expected


def test_the_harness_catches_a_rounding_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from tickvault.market.reference import kernels as adjusting

    def down(values: Any, segments: Any, numerators: Any, denominators: Any, null: Any, out: Any) -> int:
        for row, value in enumerate(values.tolist()):
            at = int(segments[row])
            out[row] = null if value == null else value * int(numerators[at]) // int(denominators[at])
        return -1

    monkeypatch.setattr(adjusting, "scale_by", down)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_adjusted_numbers_are_the_exact_ones_rounded_once()
