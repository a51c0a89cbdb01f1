"""The simulated day keeps the rules that its docstring states."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.cli import demo_day

Type = Callable[..., Any]


@pytest.fixture(scope="module")
def day() -> list[demo_day.Series]:
    return demo_day.day(7)


@pytest.mark.parametrize("place", [0, 1, 19])
def test_a_day_is_plausible(day: list[demo_day.Series], place: int) -> None:
    columns = day[place].columns
    bbo = dict(zip(demo_day.COLUMNS["bbo"], columns["bbo"], strict=True))
    trades = dict(zip(demo_day.COLUMNS["trades"], columns["trades"], strict=True))
    close_ns = demo_day.OPEN_NS + demo_day.MINUTE_COUNT * demo_day.MINUTE_NS
    for times in (bbo["ts_event"], trades["ts_event"]):
        assert (np.diff(times) >= 0).all()
        assert times[0] >= demo_day.OPEN_NS
        assert times[-1] < close_ns
    assert (bbo["bid_px"] < bbo["ask_px"]).all()
    assert (bbo["bid_px"] > 0).all()
    assert (bbo["bid_sz"] > 0).all()
    assert (bbo["ask_sz"] > 0).all()
    assert (trades["size"] > 0).all()
    assert set(np.unique(trades["side"])) == {-1, 1}
    # An order takes the best price first, and may go on to worse ones.
    standing = np.searchsorted(bbo["ts_event"], trades["ts_event"], "left") - 1
    buys = trades["side"] == 1
    assert (trades["price"] >= bbo["ask_px"][standing])[buys].all()
    assert (trades["price"] <= bbo["bid_px"][standing])[~buys].all()
    assert (trades["price"] == bbo["ask_px"][standing])[buys].mean() > 0.5


def test_the_open_is_when_the_docstring_says() -> None:
    assert np.datetime64(demo_day.OPEN_NS, "ns") == np.datetime64("2026-01-05T14:30")
    market = demo_day.market(7)
    assert market.opens_ns == demo_day.OPEN_NS
    assert market.closes_ns == demo_day.OPEN_NS + demo_day.MINUTE_COUNT * demo_day.MINUTE_NS


def test_equal_seeds_give_equal_days(day: list[demo_day.Series]) -> None:
    first, again, other = day[0].columns, demo_day.series("ALDER", 7).columns, demo_day.series("ALDER", 8).columns
    for schema in demo_day.COLUMNS:
        assert np.array_equal(first[schema], again[schema])
        assert not np.array_equal(first[schema], other[schema])


def test_the_minutes_hold_the_whole_day_once(day: list[demo_day.Series]) -> None:
    objects = dict(pair for batch in demo_day.minutes(day) for pair in batch)
    assert len(objects) == demo_day.object_count()
    for one in day[:3]:
        for schema, rows in one.columns.items():
            prefix = f"{demo_day.VENUE}/{one.symbol}/{schema}/{demo_day.DATE}/"
            parts = [np.load(io.BytesIO(body)) for key, body in objects.items() if key.startswith(prefix)]
            assert len(parts) == demo_day.MINUTE_COUNT
            assert np.array_equal(np.concatenate(parts, axis=1), rows)


def test_objects_and_tables_tell_the_same_day(day: list[demo_day.Series]) -> None:
    for one in day:
        trades, told = one.tables["trades"], one.columns["trades"]
        assert np.array_equal(told[1], trades["price"])
        assert np.array_equal(told[3], np.where(trades["side"] == ord("B"), 1, -1))
        assert np.array_equal(one.columns["bbo"][2], one.tables["bbo"]["ask_px_00"])
        assert json.loads(demo_day.definition(one))["tick_size"] == one.instrument.tick


def test_the_library_holds_the_day(tickvault: Type, day: list[demo_day.Series]) -> None:
    done = tickvault("demo", "--no-serve", "--json")
    assert done.json["rows_loaded"] == sum(len(table) for one in day for table in one.tables.values())
    (python,) = [part for part in done.stderr.split("\n\n") if part.startswith("import tickvault")]
    shown: list[object] = []
    exec(python, {"print": shown.append})
    (trades,) = shown
    assert len(trades) > 500
    with tv.open("data") as vault:
        library = vault.library(done.json["library"])
        assert library.symbols() == sorted(demo_day.SYMBOLS)
        for one in day:
            for schema, table in one.tables.items():
                assert np.array_equal(library.read(one.symbol, schema)["ts_event"], table["ts_event"])
    assert "data" not in done.stderr.partition("and in a shell")[2], "the default folder need not be named"
    again = tickvault("demo", "--no-serve", "--json")
    assert again.json["rows_loaded"] == 0
    assert "import tickvault" in again.stderr


def test_a_loading_interrupted_in_the_library_leaves_nothing_twice(
    tickvault: Type, monkeypatch: pytest.MonkeyPatch, day: list[demo_day.Series]
) -> None:
    from tickvault.market.library import Library

    write, written = Library.write, []

    def interrupted(self: Library, symbol: str, *rest: Any, **named: Any) -> object:
        written.append(symbol)
        if len(written) == 12:
            raise KeyboardInterrupt
        return write(self, symbol, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Library, "write", interrupted)
        tickvault("demo", "--no-serve", status=130)
    assert tickvault("demo", "--no-serve", "--json").json["objects_loaded"] > 0
    with tv.open("data") as vault:
        library = vault.library("demo")
        for one in day[:3]:
            assert len(library.read(one.symbol, "mbo")) == len(one.tables["mbo"])


def test_a_missing_package_is_named(tickvault: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    import tickvault.market.simulate as room

    def missing(name: str) -> object:
        raise ModuleNotFoundError("no numba", name="numba")

    monkeypatch.delattr(room, "Market")
    monkeypatch.setattr(room, "__getattr__", missing, raising=False)
    assert "numba" in tickvault("simulate", "--library", "sim", status=2).stderr
    typed = tickvault("demo", "--no-serve", status=2)
    assert "needs numba" in typed.stderr
    assert tickvault("ls").stdout == ""
    assert "pip install 'tickvault[market]'" in typed.stderr
