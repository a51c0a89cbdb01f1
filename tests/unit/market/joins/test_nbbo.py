"""The best quote: what each kind of row says of its exchange, and what is best then."""

from __future__ import annotations

from typing import Any

import pytest
from joins_made import listed, made

import tickvault as tv
from tickvault.market.joins import nbbo
from tickvault.market.schema import Column, Kind
from tickvault.market.table import Table

SIDES = ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00")


def quotes(*rows: tuple[Any, ...], schema: str = "bbo", **more: Any) -> Table:
    """Return quotes of rows (exchange, bid, size, ask, size)."""
    lists = {name: [row[at + 1] for row in rows] for at, name in enumerate(SIDES)}
    if any(row[0] for row in rows):
        lists["exchange"] = [row[0] for row in rows]
    return made(schema, ts_event=list(range(len(rows))), **lists, **more)


def best(table: Table, **named: Any) -> list[tuple[Any, ...]]:
    """Return (bid, size, exchanges, ask, size, exchanges) by row."""
    found = nbbo(table, **named)
    names = ("bid_px_00", "bid_sz_00", "bid_ct_00", "ask_px_00", "ask_sz_00", "ask_ct_00")
    return list(zip(*(listed(found, name) for name in names), strict=True))


NO = (None, None, None)


def test_each_exchange_holds_what_it_stated() -> None:
    table = quotes(
        ("Q", 100, 5, None, None),
        ("P", None, None, 103, 2),
        ("P", 101, 1, None, None),
        ("Q", 101, 4, None, None),
        ("P", 99, 9, None, None),
        ("Q", None, None, 103, 7),
    )
    assert best(table) == [
        (100, 5, 1, *NO),
        (100, 5, 1, 103, 2, 1),
        (101, 1, 1, 103, 2, 1),
        (101, 5, 2, 103, 2, 1),
        (101, 4, 1, 103, 2, 1),
        (101, 4, 1, 103, 9, 2),
    ]


def test_a_row_of_both_sides_states_both() -> None:
    assert best(quotes(("Q", 10, 1, 12, 2), ("P", 11, 3, 12, 4))) == [(10, 1, 1, 12, 2, 1), (11, 3, 1, 12, 6, 2)]


@pytest.mark.parametrize("withdrawal", [(99, 0), (None, 0), (101, -4), (None, 7)])
def test_a_stated_side_without_price_or_size_is_withdrawn(withdrawal: tuple[Any, Any]) -> None:
    table = quotes(("Q", 100, 5, None, None), ("P", 99, 3, None, None), ("Q", *withdrawal, None, None))
    assert best(table)[-1] == (99, 3, 1, *NO)
    again = quotes(("Q", 100, 5, 101, 1), ("Q", *withdrawal, None, None), ("Q", 98, 1, None, None))
    assert best(again)[1:] == [(*NO, 101, 1, 1), (98, 1, 1, 101, 1, 1)]


def test_a_size_that_is_not_told_is_not_guessed() -> None:
    """FXCM's quotes have no sizes: the price counts, and the total is not known."""
    table = quotes(("Q", 100, None, None, None), ("P", 100, 4, None, None), ("Q", 99, None, None, None))
    assert best(table) == [(100, None, 1, *NO), (100, None, 2, *NO), (100, 4, 1, *NO)]


def test_the_rows_of_one_book_state_both_sides() -> None:
    rows = ((None, 10, 1, 12, 2), (None, 10, 1, None, None))
    assert best(quotes(*rows)) == [(10, 1, 1, 12, 2, 1), (10, 1, 1, *NO)]
    assert best(quotes(*rows, schema="mbp-1")) == [(10, 1, 1, 12, 2, 1), (10, 1, 1, *NO)]
    assert best(quotes(*rows), one_sided=True)[1] == (10, 1, 1, 12, 2, 1)


def test_whether_an_absent_side_is_withdrawn_can_be_said() -> None:
    table = quotes(("Q", 10, 1, 12, 2), ("Q", 10, 1, None, None))
    assert best(table)[1] == (10, 1, 1, 12, 2, 1)
    assert best(table, one_sided=False)[1] == (10, 1, 1, *NO)


def test_publishers_are_exchanges_too() -> None:
    table = quotes(
        (None, 10, 1, 12, 2), (None, 10, 3, 11, 1), (None, None, None, 13, 2), schema="mbp-1", publisher_id=[2, 41, 2]
    )
    assert best(table) == [(10, 1, 1, 12, 2, 1), (10, 4, 2, 11, 1, 1), (10, 3, 1, 11, 1, 1)]


def test_another_column_of_exchanges() -> None:
    venue = Column("venue", Kind.CODE)
    table = quotes(("Q", 10, 1, None, None), ("Q", 10, 3, None, None), extensions=[venue], venue=["a", "b"])
    assert best(table)[1] == (10, 3, 1, *NO)
    assert best(table, exchange="venue", one_sided=True)[1] == (10, 4, 2, *NO)
    with pytest.raises(tv.InvalidInputError, match="no column 'nope'"):
        nbbo(table, exchange="nope")
    with pytest.raises(tv.InvalidInputError, match="must be a column of codes or ids"):
        nbbo(table, exchange="bid_px_00")


def test_an_exchange_that_is_not_named_is_one() -> None:
    table = quotes(("Q", 10, 1, None, None), (None, 10, 2, None, None), (None, 10, 3, None, None))
    assert [row[:3] for row in best(table)] == [(10, 1, 1), (10, 3, 2), (10, 4, 2)]


def test_a_text_that_stands_twice_in_a_dictionary_is_one_exchange() -> None:
    table = quotes(("Q", 10, 1, None, None), ("P", 10, 2, None, None))
    table.to_columns().dictionaries["exchange"][:] = ["Q", "Q"]
    assert best(table)[-1][:3] == (10, 2, 1)


def test_each_symbol_has_a_best() -> None:
    table = quotes(
        ("Q", 10, 1, None, None),
        ("Q", 20, 2, None, None),
        ("P", 10, 3, None, None),
        symbols=["A", "B", "A"],
    )
    assert [row[:3] for row in best(table)] == [(10, 1, 1), (20, 2, 1), (10, 4, 2)]
    assert listed(nbbo(table), "symbol") == ["A", "B", "A"]


def test_only_changes() -> None:
    table = quotes(
        ("Q", None, None, None, None),
        ("Q", 10, 1, None, None),
        ("Q", 10, 1, None, None),
        ("P", 9, 7, None, None),
        ("P", 10, 7, None, None),
        ("Q", 10, 2, None, None),
        ("P", 10, None, None, None),
        ("Q", 10, 9, None, None),
        symbols=["A"] * 8,
    )
    found = nbbo(table, changes_only=True)
    assert listed(found, "ts_event") == [1, 4, 5, 6]
    assert listed(found, "bid_sz_00") == [1, 8, 9, None]
    assert listed(found, "symbol") == ["A"] * 4
    every = best(table)
    assert best(table, changes_only=True) == [every[row] for row in (1, 4, 5, 6)]


def test_the_result_is_a_table_of_the_series() -> None:
    table = made(
        "bbo", symbol="ES", ts_event=[1], ts_recv=[2], bid_px_00=[7], bid_sz_00=[3], sequence=[9], size_scale=10
    )
    table.adjustment = "split"
    found = nbbo(table)
    assert found.columns == (
        *("ts_event", "ts_recv", "bid_px_00", "bid_sz_00", "bid_ct_00", "ask_px_00", "ask_sz_00", "ask_ct_00"),
    )
    assert (found.schema.name, found.symbol, found.size_scale, found.adjustment) == ("bbo", "ES", 10, "split")
    assert (listed(found, "ts_event"), listed(found, "ts_recv")) == ([1], [2])
    assert len(nbbo(table.slice(0, 0))) == 0


def test_quotes_may_be_forgotten_at_midnight() -> None:
    """The clocks of New York go forward on 2024-03-10: midnight is at 05:00 UTC, and the next day at 04:00."""
    from tickvault.market.times import to_ns

    moments = ["2024-03-09T21:00", "2024-03-10T04:59:59", "2024-03-10T05:00", "2024-03-11T03:59:59", "2024-03-11T04:00"]
    times = [to_ns(moment) for moment in moments]
    table = made(
        "bbo",
        ts_event=[*times, None],
        exchange=["Q", "P", "P", "Q", "P", "P"],
        bid_px_00=[10, 9, 8, 7, None, 6],
        bid_sz_00=[1] * 4 + [None, 1],
    )
    assert [row[0] for row in best(table)] == [10, 10, 10, 8, 8, 7]
    assert [row[0] for row in best(table, daily_tz="America/New_York")] == [10, 10, 8, 8, None, 6]
    with pytest.raises(tv.InvalidInputError, match="no zone"):
        nbbo(table, daily_tz="New York")


def test_a_total_beyond_63_bits_is_refused() -> None:
    table = quotes(("Q", 10, 2**62, None, None), ("P", 10, 2**62, None, None))
    with pytest.raises(tv.InvalidInputError, match="does not fit 63 bits after row 1"):
        nbbo(table)


def test_what_are_no_quotes() -> None:
    with pytest.raises(tv.InvalidInputError, match="these are trades"):
        nbbo(made("trades", ts_event=[1], price=[1]))


def at_venue(venue: str, *rows: tuple[Any, ...], **more: Any) -> Table:
    """Return one book's quotes of rows (time, bid, size, ask, size)."""
    lists = {name: [row[at + 1] for row in rows] for at, name in enumerate(SIDES)}
    table = made("mbp-1", ts_event=[row[0] for row in rows], **lists, **more)
    table.venue = venue
    return table


def test_tables_of_several_venues_are_taken_together() -> None:
    one = at_venue("ONE", (1, 10, 1, 12, 2), (5, None, None, 12, 2), (5, 9, 1, 12, 2), symbol="BTC")
    other = at_venue("TWO", (2, 10, 30, 13, 10), (5, 8, 10, None, None), symbol="BTC", size_scale=10)
    found = nbbo([one, other])
    assert (found.symbol, found.size_scale) == ("BTC", 10)
    assert listed(found, "ts_event") == [1, 2, 5, 5, 5]
    assert best([one, other]) == [  # type: ignore[arg-type]
        (10, 10, 1, 12, 20, 1),
        (10, 40, 2, 12, 20, 1),
        (10, 30, 1, 12, 20, 1),
        (10, 30, 1, 12, 20, 1),
        (9, 10, 1, 12, 20, 1),
    ]
    assert nbbo([one, at_venue("TWO", symbol="XBT")]).symbol == ""


def test_tables_that_cannot_be_taken_together() -> None:
    one = at_venue("ONE", (1, 10, 1, 12, 2))
    for others, told in (
        ([], "there is no table"),
        ([one, one], "need a venue each, these have 'ONE', 'ONE'"),
        ([one, at_venue("", (1, 1, 1, 1, 1))], "need a venue each"),
        ([one, quotes(("Q", 10, 1, None, None))], "are of several exchanges or symbols"),
        ([one, made("trades", ts_event=[1])], "these are trades"),
    ):
        with pytest.raises(tv.InvalidInputError, match=told):
            nbbo(others)
    adjusted = at_venue("TWO", (1, 1, 1, 1, 1))
    adjusted.adjustment = "total"
    with pytest.raises(tv.InvalidInputError, match="TWO is adjusted 'total'"):
        nbbo([one, adjusted])
