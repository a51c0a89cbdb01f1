"""A market's day: what is asked for, what it depends on, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.joining import join_columns
from tickvault.market.schema import CODE_NULL
from tickvault.market.simulate import Faults, Flow, Instrument, Market, invent
from tickvault.market.table import Table

Day = dict[tuple[str, str], Columns]
ALL = ["mbo", "trades", "bbo", "definition", "status"]


def digest(flow: Flow) -> str:
    """Of every byte of every series, whatever the tables that it came in."""
    pieces: dict[tuple[str, str], list[Columns]] = {}
    for table in flow:
        pieces.setdefault((table.symbol, table.schema.name), []).append(table.to_columns())
    whole = hashlib.sha256()
    for series in sorted(pieces):
        columns = join_columns(pieces[series])
        whole.update(repr((series, sorted(columns.dictionaries.items()))).encode())
        for name in sorted(columns.arrays):
            whole.update(np.ascontiguousarray(columns[name]).tobytes())
    return whole.hexdigest()


PINNED = "3e21ff368d899732a66b25306986c02c0e05a0df2ea348078f40af9ad743f471"
SMALL: dict[str, Any] = {"symbols": 3, "seed": 11, "events": 60_000}
FAULTS = Faults(late=3000, repeated=2000, gaps=1000, clock_jumps=5000, crossed=4000)


def test_equal_seeds_give_equal_bytes_on_every_machine() -> None:
    """Pinned: a change of the model changes it, and is told in the changelog; a machine must not."""
    assert digest(Market(**SMALL).flow(ALL)) == PINNED


def test_other_seeds_and_days_give_other_bytes() -> None:
    found = {digest(Market(**SMALL).flow(ALL)), digest(Market(**{**SMALL, "seed": 12}).flow(ALL))}
    found.add(digest(Market(**SMALL, date="2026-01-06").flow(["mbo"])))
    found.add(digest(Market(**SMALL).flow(["mbo"])))
    assert len(found) == 4
    one = Market(**SMALL).flow(["mbo"]).__next__()["order_id"]
    other = Market(**SMALL, date="2026-01-06").flow(["mbo"]).__next__()["size"]
    assert len(one) == len(other)


@pytest.mark.parametrize("faults", [None, FAULTS], ids=["clean", "faulty"])
def test_the_day_does_not_depend_on_its_batches(faults: Faults | None) -> None:
    wanted = digest(Market(**SMALL).flow(ALL, faults=faults))
    counts = set()
    for rows in (777, 10_000, 10**7):
        flow = Market(**SMALL).flow(ALL, rows=rows, faults=faults)
        assert digest(flow) == wanted
        counts.add(tuple(sorted(flow.faults.items())))
    assert len(counts) == 1


def test_a_batch_of_one_row_is_an_event() -> None:
    market = Market(1, seed=2, events=3000)
    tables = list(market.flow(["mbo"], rows=1))
    assert len(tables) > 1500
    for table in tables:
        assert len(np.unique(table["sequence"])) == 1
        assert table["flags"][-1] & 128


def test_the_batches_test_sees_a_batch_that_is_cut_wrongly() -> None:
    """A planted bug: the first row of each table is lost."""

    class Losing(Flow):
        def __next__(self) -> Table:
            table = super().__next__()
            return table.slice(1, len(table)) if table.schema.name == "mbo" else table

    def losing(rows: int) -> str:
        market = Market(**SMALL)
        return digest(Losing(market, ("mbo",), rows, Faults()))

    assert losing(777) != losing(10_000)


def test_an_instrument_does_not_depend_on_the_others() -> None:
    both = Market(["ALDER", "BEECH"], seed=4, events=50_000)
    alone = Market(["BEECH"], seed=4, events=both.shares()[1])
    (wanted,) = [table for table in both.flow(["mbo"], rows=10**6) if table.symbol == "BEECH"]
    (got,) = list(alone.flow(["mbo"], rows=10**6))
    for name in wanted:
        same = np.array_equal(wanted[name], got[name])
        assert same == (name not in {"order_id", "instrument_id", "channel_id"}), name


def test_tables_are_of_the_size_asked_for() -> None:
    market = Market(2, seed=1, events=100_000)
    flow = market.flow(["mbo", "trades"], rows=9000)
    rows: dict[tuple[str, str], list[int]] = {}
    for table in flow:
        rows.setdefault((table.symbol, table.schema.name), []).append(len(table))
    for counts in rows.values():
        assert all(9000 <= count < 12_000 for count in counts[:-1])
    assert flow.rows["mbo"] == 100_000
    assert flow.rows["trades"] == sum(sum(counts) for (_, schema), counts in rows.items() if schema == "trades")


def test_a_definition_says_what_the_instrument_is(market: Market, day: Day) -> None:
    for one in market.instruments:
        told = day[one.symbol, "definition"]
        assert len(told) == 1
        words = {name: told.dictionaries[name][told[name][0]] for name in told.dictionaries}
        assert words["raw_symbol"] == one.symbol
        assert words["currency"] == one.currency
        assert words["exchange"] == market.venue
        assert told["min_price_increment"][0] == one.tick
        assert told["contract_multiplier"][0] == one.multiplier
        assert told["asset"][0] == CODE_NULL
        assert told["ts_event"][0] < market.opens_ns


def test_status_tells_the_open_and_the_close(market: Market, day: Day) -> None:
    for one in market.instruments:
        told = day[one.symbol, "status"]
        assert told["status_action"].tolist() == [1, 7, 12]
        assert bytes(told["is_trading"]) == b"NYN"
        assert told["ts_event"].tolist()[1:] == [market.opens_ns, market.closes_ns]


def test_a_session_is_of_the_day_and_the_hours() -> None:
    market = Market(1, date="2026-02-28", opens="23:30", closes="23:59:30", events=1000)
    times = np.concatenate([table["ts_event"] for table in market.flow(["mbo"])])
    assert np.datetime64(int(times[0]), "ns") == np.datetime64("2026-02-28T23:30")
    assert (
        np.datetime64("2026-02-28T23:55") < np.datetime64(int(times[-1]), "ns") < np.datetime64("2026-02-28T23:59:30")
    )


def test_instruments_are_invented_in_variety() -> None:
    made = [invent(f"S{number}", 1) for number in range(300)]
    assert len({one.tick for one in made}) == 4
    assert {one.instrument_class for one in made} == {"K", "F"}
    assert {one.currency for one in made} == {"USD", "EUR"}
    assert len({one.price for one in made}) > 200
    assert invent("S1", 1) == made[1]
    assert invent("S1", 2) != made[1]
    for one in made:
        assert 5 < one.deviation_ticks < 500


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument("LOW", 10_000_000, 160_000_000, volatility=0.9),
        Instrument("WILD", 10_000_000, 10_000_000_000, volatility=0.5),
        Instrument("STILL", 10_000_000, 10_000_000_000, volatility=0.000001, correlation=1),
        Instrument("WIDE", 10_000_000, 10_000_000_000, half_spread=50.0),
        Instrument("FULL", 10_000_000, 10_000_000_000, orders=2048),
        Instrument("TINY", 1, 16, lot=1_000_000, correlation=0),
        Instrument("HUGE", 1 << 45, 16 << 45),
    ],
    ids=lambda one: one.symbol,
)
def test_the_ends_of_the_ranges_are_sound(instrument: Instrument) -> None:
    for table in Market([instrument], seed=9, events=150_000).flow(["mbo", "bbo"], rows=10**6):
        if table.schema.name == "bbo":
            assert (table["bid_px_00"] < table["ask_px_00"]).all()
            assert (table["bid_px_00"] > 0).all()
            assert (table["bid_sz_00"] > 0).all()
            assert (table["ask_sz_00"] > 0).all()
            assert (table["bid_ct_00"] > 0).all()
            assert (table["ask_ct_00"] > 0).all()
        else:
            assert (table["price"] > 0).all()


@pytest.mark.parametrize("length", ["14:30:00.1", "14:30:01", "14:31"])
def test_a_short_session_has_its_rows(length: str) -> None:
    market = Market(1, closes=length, events=20_000)
    (table,) = list(market.flow(["mbo"]))
    assert len(table) == 20_000
    assert table["ts_event"][-1] < market.closes_ns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"symbols": 0}, "1 to 60000"),
        ({"symbols": []}, "1 to 60000"),
        ({"symbols": ["A", "A"]}, "must differ"),
        ({"symbols": [""]}, "must not be empty"),
        ({"events": 10}, "at least 400"),
        ({"events": 1 << 40}, "at most"),
        ({"date": "5 Jan"}, "2026-01-05"),
        ({"opens": "noon"}, "14:30"),
        ({"closes": "14:30"}, "must close after"),
        ({"venue": ""}, "venue"),
    ],
)
def test_what_is_out_of_range_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Market(**words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"tick": 0}, "tick"),
        ({"price": 15}, "price"),
        ({"lot": 0}, "lot"),
        ({"multiplier": 0}, "multiplier"),
        ({"volatility": 0.0}, "volatility"),
        ({"volatility": 0.2}, "make the tick larger"),
        ({"half_spread": -1.0}, "half_spread"),
        ({"correlation": 1.5}, "correlation"),
        ({"activity": 0.0}, "activity"),
        ({"orders": 4000}, "orders"),
        ({"instrument_class": "stock"}, "instrument_class"),
    ],
)
def test_an_impossible_instrument_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Instrument("X", **words)


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="mbp-10"):
        Market(1).flow(["mbp-10"])
    with pytest.raises(InvalidInputError, match="rows"):
        Market(1).flow(rows=0)
