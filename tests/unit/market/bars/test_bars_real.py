"""Minute bars of GC's ticks against the minute files of LEAN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.bars import bars
from tickvault.market.library import Library
from tickvault.market.table import Table

DAYS = ("20131007", "20131008", "20131009")
FOUR = ("open", "high", "low", "close")
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def gold(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with tv.open(tmp_path_factory.mktemp("vault") / "data") as vault:
        library = vault.library("lean")
        for day in DAYS:
            for resolution in ("tick", "minute"):
                library.ingest(market_data / "lean/future/comex" / resolution / "gc" / f"{day}_trade.zip")
        yield library


def _agree(made: Table, want: Table, names: tuple[str, ...]) -> None:
    for name in names:
        assert np.array_equal(made[name], want[name]), name


def test_the_december_contract_is_reproduced(gold: Library) -> None:
    """OHLC of every minute, exactly: trades by UTC minute, sizes of 0 included, and the line that is written twice."""
    made, want = bars(gold.read("GCZ13", "trades"), "1m"), gold.read("GCZ13", "ohlcv-1m")
    assert len(made) == 4_040
    _agree(made, want, ("ts_event", "ts_recv", *FOUR))
    assert made["trade_count"].sum() == 156_452
    wrong = made["volume"] != want["volume"]
    assert wrong.sum() == 3, "the last tick of each day is written twice, and its size counts twice"
    assert np.array_equal(np.flatnonzero(wrong), [at for at in range(4_040) if at == 4_039 or _ends_a_day(made, at)])


def _ends_a_day(made: Table, at: int) -> bool:
    return bool(made["ts_event"][at] // DAY_NS != made["ts_event"][at + 1] // DAY_NS)


def test_every_contract_is_reproduced_in_one_call(gold: Library) -> None:
    symbols = [symbol for symbol in gold.symbols("trades") if symbol in gold.symbols("ohlcv-1m")]
    assert len(symbols) == 11
    made, want = bars(gold.read(symbols, "trades"), "1m"), gold.read(symbols, "ohlcv-1m")
    assert np.array_equal(np.sort(made["ts_recv"]), made["ts_recv"]), "in the order of time"
    for symbol in symbols:
        mine = [made["symbol"] == made.strings("symbol").index(symbol)][0]
        theirs = [want["symbol"] == want.strings("symbol").index(symbol)][0]
        for name in ("ts_event", *FOUR):
            found = want[name][theirs]
            # A contract may have traded on fewer of the days by tick than it has minutes of.
            found = found[np.isin(want["ts_event"][theirs] // DAY_NS, made["ts_event"][mine] // DAY_NS)]
            assert np.array_equal(made[name][mine], found), (symbol, name)


def test_without_the_line_that_is_written_twice_volumes_agree_too(gold: Library) -> None:
    ticks, want = gold.read("GCZ13", "trades"), gold.read("GCZ13", "ohlcv-1m")
    days = ticks["ts_event"] // DAY_NS
    lasts = np.append(np.flatnonzero(np.diff(days)), len(ticks) - 1)
    kept = np.ones(len(ticks), np.bool_)
    kept[lasts] = False
    made = bars(Table.of(ticks.to_columns().take(kept), "COMEX", "GCZ13"), "1m")
    _agree(made, want, ("ts_event", *FOUR, "volume"))
    planted = kept.copy()
    planted[70_000] = False
    broken = bars(Table.of(ticks.to_columns().take(planted), "COMEX", "GCZ13"), "1m")
    assert not np.array_equal(broken["volume"], want["volume"]), "the comparison would see a lost tick"


def test_longer_bars_are_made_of_the_same_ticks(gold: Library) -> None:
    ticks = gold.read("GCZ13", "trades")
    minutes, hours = bars(ticks, "1m"), bars(ticks, "1h")
    assert hours["volume"].sum() == minutes["volume"].sum() == ticks["size"].sum()
    assert hours["high"].max() == ticks["price"].max()
    filled = bars(ticks, "1m", fill=True)
    assert len(filled) == (minutes["ts_recv"][-1] - minutes["ts_event"][0]) // (60 * 10**9)
    assert filled["volume"].sum() == ticks["size"].sum()
