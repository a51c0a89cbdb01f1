"""The best quote against a dict of exchanges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.market.columns import Columns
from tickvault.market.joins import nbbo
from tickvault.market.joins import nbbo as _nbbo_function
from tickvault.market.schema import CODE_NULL, PRICE_NULL, SIZE_NULL, Column, Kind, schema_of
from tickvault.market.table import Table

EXCHANGES = ["Q", "P", "Z", "N"]
SYMBOLS = ["A", "B"]
NO_COUNT = 2**32 - 1
sides = st.one_of(
    st.just((PRICE_NULL, SIZE_NULL)),
    st.tuples(st.integers(-2, 3) | st.just(PRICE_NULL), st.integers(-1, 4) | st.just(SIZE_NULL)),
)
rows = st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 3), sides, sides), max_size=60)
Held = dict[tuple[int, str], dict[int, tuple[int, int]]]


def state(held: Held, symbol: int, exchange: int, name: str, side: tuple[int, int], one_sided: bool) -> None:
    price, size = side
    if one_sided and side == (PRICE_NULL, SIZE_NULL):
        return
    quotes = held.setdefault((symbol, name), {})
    if price == PRICE_NULL or size <= 0:
        quotes.pop(exchange, None)
    else:
        quotes[exchange] = side


def best(held: Held, symbol: int, name: str) -> tuple[int, int, int]:
    quotes = held.get((symbol, name), {})
    if not quotes:
        return PRICE_NULL, SIZE_NULL, NO_COUNT
    price = (max if name == "bid" else min)(price for price, _ in quotes.values())
    there = [size for each, size in quotes.values() if each == price]
    return price, SIZE_NULL if SIZE_NULL in there else sum(there), len(there)


def table(given_rows: list[Any], several: bool) -> Table:
    arrays: dict[str, Any] = {"ts_event": np.arange(len(given_rows))}
    for at, side in ((2, "bid"), (3, "ask")):
        for place, name in enumerate(("px", "sz")):
            arrays[f"{side}_{name}_00"] = np.array([row[at][place] for row in given_rows], np.int64)
    arrays["exchange"] = np.array([row[1] for row in given_rows], np.int32)
    words = {"exchange": EXCHANGES}
    if several:
        arrays["symbol"] = np.array([row[0] for row in given_rows], np.int32)
        words["symbol"] = SYMBOLS
    return Table.of(Columns(schema_of("bbo"), arrays, words, [Column("symbol", Kind.CODE)]))


@settings(deadline=None, max_examples=400)
@given(given_rows=rows, several=st.booleans(), one_sided=st.booleans())
def test_the_best_is_that_of_a_dict(given_rows: list[Any], several: bool, one_sided: bool) -> None:
    quotes = table(given_rows, several)
    found = nbbo(quotes, one_sided=one_sided)
    changes = nbbo(quotes, one_sided=one_sided, changes_only=True)
    held: Held = {}
    shown: dict[int, list[int]] = {}
    changed = []
    for place, (symbol, exchange, bid, ask) in enumerate(given_rows):
        symbol = symbol if several else 0
        state(held, symbol, exchange, "bid", bid, one_sided)
        state(held, symbol, exchange, "ask", ask, one_sided)
        want = [*best(held, symbol, "bid"), *best(held, symbol, "ask")]
        assert row_of(found, place) == want, place
        if want != shown.get(symbol, [PRICE_NULL, SIZE_NULL, NO_COUNT] * 2):
            changed.append(place)
        shown[symbol] = want
    assert changes["ts_event"].tolist() == changed
    assert [row_of(changes, at) for at in range(len(changed))] == [row_of(found, place) for place in changed]
    if several:
        assert changes["symbol"].tolist() == [
            CODE_NULL if given_rows[at][0] < 0 else given_rows[at][0] for at in changed
        ]


def row_of(quotes: Table, place: int) -> list[int]:
    return [int(quotes[f"{side}_{name}_00"][place]) for side in ("bid", "ask") for name in ("px", "sz", "ct")]


@settings(deadline=None, max_examples=50)
@given(given_rows=rows, several=st.booleans(), at=st.integers(0, 60))
def test_what_comes_later_changes_nothing(given_rows: list[Any], several: bool, at: int) -> None:
    whole, cut = nbbo(table(given_rows, several)), nbbo(table(given_rows, several).slice(0, at))
    assert [row_of(whole, place) for place in range(len(cut))] == [row_of(cut, place) for place in range(len(cut))]


def test_the_harness_sees_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A withdrawal that the best does not notice."""

    def deaf(quotes: Table, **named: Any) -> Table:
        sizes = quotes["bid_sz_00"].copy()
        sizes[sizes == 0] = 1
        columns = quotes.to_columns()
        columns.arrays["bid_sz_00"] = sizes
        return _nbbo_function(Table.of(columns), **named)

    monkeypatch.setitem(globals(), "nbbo", deaf)
    with pytest.raises(AssertionError):
        test_the_best_is_that_of_a_dict()
