"""The as-of join against a reading of its rules, row by row in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.market.columns import Columns
from tickvault.market.joins import asof_join, kernels, spread
from tickvault.market.schema import CODE_NULL, PRICE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table

WORDS = ("Q", "P", "Z")
KEY = Column("key", Kind.ID)
# Few times, so that many are equal.
times = st.one_of(st.integers(0, 12), st.just(TIME_NULL), st.sampled_from([-(2**63) + 1, 2**63 - 1, 2**40]))
keys = st.sampled_from([0, 1, 2**63, 2**64 - 2, KEY.null])
rows = st.lists(st.tuples(times, st.integers(-1, 2), keys), max_size=40)
orders = st.sampled_from(["as they come", "sorted", "nearly"])
Row = tuple[int, int, int]


def arranged(given_rows: list[Row], order: str) -> list[Row]:
    if order == "as they come":
        return given_rows
    found = sorted(given_rows, key=lambda row: row[0])
    if order == "nearly" and len(found) > 1:
        found[-1], found[0] = found[0], found[-1]
    return found


def table(schema: str, price: str, given_rows: list[Row], words: tuple[str, ...]) -> Table:
    codes = [CODE_NULL if code < 0 else words.index(WORDS[code]) for _, code, _ in given_rows]
    arrays = {
        "ts_event": np.array([time for time, _, _ in given_rows], np.int64),
        price: np.arange(len(given_rows)),
        "exchange": np.array(codes, np.int32),
        "key": np.array([key for _, _, key in given_rows], np.uint64),
    }
    return Table.of(Columns(schema_of(schema), arrays, {"exchange": words}, [KEY]))


def expected(
    left: list[Row],
    right: list[Row],
    *,
    by: tuple[str, ...],
    allow_exact: bool,
    direction: str,
    tolerance: int | None,
) -> list[int]:
    """Return the right row of each left one, PRICE_NULL for none."""
    found = []
    for time, code, key in left:
        before = after = None
        for place, (other, other_code, other_key) in enumerate(right):
            if TIME_NULL in (time, other) or (other == time and not allow_exact):
                continue
            if "exchange" in by and (code != other_code or code < 0):
                continue
            if "key" in by and (key != other_key or key == KEY.null):
                continue
            if tolerance is not None and abs(other - time) > tolerance:
                continue
            if other <= time and (before is None or other >= right[before][0]):
                before = place
            if other >= time and (after is None or other < right[after][0]):
                after = place
        if direction == "nearest" and before is not None and after is not None:
            nearer = right[after][0] - time < time - right[before][0]
            found.append(after if nearer else before)
        else:
            one = {"backward": before, "forward": after, "nearest": after if before is None else before}[direction]
            found.append(PRICE_NULL if one is None else one)
    return found


def check(left: list[Row], right: list[Row], **named: Any) -> None:
    joined = asof_join(table("trades", "price", left, WORDS), table("bbo", "bid_px_00", right, WORDS[::-1]), **named)
    assert joined["price"].tolist() == list(range(len(left))), "the left rows stay as they are"
    assert joined["bid_px_00"].tolist() == expected(left, right, **named)


options: dict[str, st.SearchStrategy[Any]] = {
    "by": st.sampled_from([(), ("exchange",), ("key",), ("exchange", "key")]),
    "allow_exact": st.booleans(),
    "direction": st.sampled_from(["backward", "forward", "nearest"]),
    "tolerance": st.none() | st.integers(0, 6),
}


@settings(deadline=None, max_examples=400)
@given(left=rows, right=rows, left_order=orders, right_order=orders, named=st.fixed_dictionaries(options))
def test_every_row_gets_the_row_that_the_rules_say(
    left: list[Row], right: list[Row], left_order: str, right_order: str, named: dict[str, Any]
) -> None:
    check(arranged(left, left_order), arranged(right, right_order), **named)


@settings(deadline=None, max_examples=100)
@given(left=rows, right=rows, right_order=orders, threads=st.integers(2, 5), allow_exact=st.booleans())
def test_threads_change_nothing(
    left: list[Row], right: list[Row], right_order: str, threads: int, allow_exact: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spread, "_WORTH", 1)
        patch.setattr(spread, "threads_for", {None: threads}.__getitem__)
        check(
            arranged(left, "sorted"),
            arranged(right, right_order),
            by=(),
            allow_exact=allow_exact,
            direction="backward",
            tolerance=None,
        )


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.tuples(st.integers(1, 60), st.integers(900, 3_200)))
def test_blocks_change_nothing(seed: int, sizes: tuple[int, int]) -> None:
    """Right rows are walked a block at a time; numpy's binary search knows no blocks."""
    rng = np.random.default_rng(seed)
    left, right = (np.sort(rng.integers(0, 1_500, size)) for size in sizes)
    out = np.empty(len(left), np.int64)
    assert kernels.last_at(kernels.frozen(left), kernels.frozen(right), False, 0, out)
    assert np.array_equal(out, np.searchsorted(right, left, side="right") - 1)
    kernels.first_at(kernels.frozen(left), kernels.frozen(right), False, out)
    want = np.searchsorted(right, left, side="left")
    assert np.array_equal(out, np.where(want == len(right), -1, want))
    place = int(rng.integers(1, len(right)))
    right[place] = right[place - 1] - 1
    assert not kernels.last_at(kernels.frozen(left), kernels.frozen(right), False, 0, out)
    assert not kernels.ascends(kernels.frozen(right))


@pytest.mark.parametrize("planted", ["strict is ignored", "first of equal times", "tolerance is less"])
def test_the_harness_sees_a_planted_bug(monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    real: dict[str, Callable[..., Any]] = {name: getattr(kernels, name) for name in ("last_at", "within")}
    if planted == "strict is ignored":
        monkeypatch.setattr(
            kernels, "last_at", lambda left, right, _, *rest: real["last_at"](left, right, False, *rest)
        )
    elif planted == "tolerance is less":
        monkeypatch.setattr(kernels, "within", lambda left, right, limit, rows: real["within"](left, right, 0, rows))
    else:

        def first_of_equals(left: Any, right: Any, strict: Any, shift: Any, out: Any) -> bool:
            in_order: bool = real["last_at"](left, right, strict, shift, out)
            if in_order:
                out[out >= 0] = np.searchsorted(right, right[out[out >= 0]])
            return in_order

        monkeypatch.setattr(kernels, "last_at", first_of_equals)
    with pytest.raises(AssertionError):
        test_every_row_gets_the_row_that_the_rules_say()
