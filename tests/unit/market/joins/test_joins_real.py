"""AIG's quotes of eleven exchanges and its trades: joins against polars, the best quote against a dict."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from operator import mul
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tickvault as tv
from tickvault.market.joins import asof_join, nbbo, window_join
from tickvault.market.library import Library
from tickvault.market.schema import PRICE_NULL, SIZE_NULL
from tickvault.market.table import Table

SIDES = ("bid_px_00", "bid_sz_00", "bid_ct_00", "ask_px_00", "ask_sz_00", "ask_ct_00")


@pytest.fixture(scope="module")
def aig(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with tv.open(tmp_path_factory.mktemp("vault") / "data") as vault:
        library = vault.library("lean")
        for kind in ("quote", "trade"):
            library.ingest(market_data / "lean/equity/usa/tick/aig" / f"20131007_{kind}.zip")
        library.ingest(market_data / "databento/futures_mbp-1_2024-07-01.dbn.zst")
        yield library


@pytest.fixture(scope="module")
def quotes(aig: Library) -> Table:
    return aig.read("AIG", "bbo")


def test_how_the_real_quotes_speak(quotes: Table) -> None:
    """The rule of `nbbo` rests on this: each row states one side only, and none withdraws."""
    bids, asks = quotes["bid_px_00"] != PRICE_NULL, quotes["ask_px_00"] != PRICE_NULL
    assert (bids ^ asks).all()
    assert np.array_equal(bids, quotes["bid_sz_00"] != SIZE_NULL)
    assert np.array_equal(asks, quotes["ask_sz_00"] != SIZE_NULL)
    assert min(quotes["bid_sz_00"].min(), quotes["ask_sz_00"].min()) > 0
    assert len(quotes.strings("exchange")) >= 10


def test_the_best_quote_is_that_of_a_dict(quotes: Table) -> None:
    found = nbbo(quotes, exchange="exchange")
    assert len(found) == len(quotes) == 1_079_935
    assert np.array_equal(found["ts_event"], quotes["ts_event"])
    some = quotes.slice(0, 60_000)
    held: dict[str, dict[int, tuple[int, int]]] = {"bid": {}, "ask": {}}
    columns = {name: some[name].tolist() for name in ("exchange", *SIDES) if name in some}
    want = []
    for row in range(len(some)):
        line: list[int] = []
        for side, better in (("bid", max), ("ask", min)):
            price = columns[f"{side}_px_00"][row]
            if price != PRICE_NULL:
                held[side][columns["exchange"][row]] = (price, columns[f"{side}_sz_00"][row])
            top = better((each for each, _ in held[side].values()), default=PRICE_NULL)
            there = [size for each, size in held[side].values() if each == top]
            line += [top, sum(there), len(there)] if there else [PRICE_NULL, SIZE_NULL, 2**32 - 1]
        want.append(line)
    assert np.array_equal(np.stack([found[name][:60_000].astype(np.int64) for name in SIDES], axis=1), np.array(want))


def test_quotes_that_are_the_best_already_are_not_carried_by_exchange(quotes: Table, aig: Library) -> None:
    """Carried on by exchange, quotes that are no longer the best stay for ever, and nearly all rows are crossed."""
    day = {"start": "2013-10-07T13:30", "end": "2013-10-07T20:00"}
    session, trades = aig.read("AIG", "bbo", **day), aig.read("AIG", "trades", **day)  # type: ignore[arg-type]

    def crossed(best: Table) -> float:
        both = (best["bid_px_00"] != PRICE_NULL) & (best["ask_px_00"] != PRICE_NULL)
        return float((best["bid_px_00"] > best["ask_px_00"])[both].mean())

    best = nbbo(session)
    assert crossed(best) < 0.0005
    assert crossed(nbbo(session, exchange="exchange")) > 0.99
    joined = asof_join(trades, best)
    inside = (joined["price"] >= joined["bid_px_00"]) & (joined["price"] <= joined["ask_px_00"])
    assert inside.mean() > 0.95


def test_changes_are_those_rows_that_differ(quotes: Table) -> None:
    found, changes = (nbbo(quotes, exchange="exchange", changes_only=changes) for changes in (False, True))
    lines = np.stack([found[name].astype(np.int64) for name in SIDES], axis=1)
    new = np.concatenate(([True], (lines[1:] != lines[:-1]).any(axis=1)))
    assert np.array_equal(np.stack([changes[name].astype(np.int64) for name in SIDES], axis=1), lines[new])
    assert np.array_equal(changes["ts_event"], found["ts_event"][new])
    assert 50_000 < len(changes) < 100_000


@pytest.mark.parametrize("direction", ["backward", "forward"])
@pytest.mark.parametrize("several", [False, True])
def test_the_join_is_that_of_polars(aig: Library, quotes: Table, direction: str, several: bool) -> None:
    trades, best = aig.read("AIG", "trades"), nbbo(quotes)
    joined = asof_join(trades, best, direction=direction)  # type: ignore[arg-type]
    if several:
        joined = asof_join(aig.read(["AIG"], "trades"), nbbo(aig.read(["AIG"], "bbo")), direction=direction)  # type: ignore[arg-type]
    frames = [table.to_polars(prices="int") for table in (trades, best)]
    want = frames[0].join_asof(frames[1], on="ts_event", strategy=direction, tolerance=None)  # type: ignore[arg-type]
    assert len(joined) == len(trades) == 25_351
    for name in SIDES:
        assert joined.to_polars(prices="int")[name].equals(want[name], null_equal=True), name


@pytest.mark.filterwarnings("ignore:Sortedness of columns cannot be checked")
def test_trades_by_their_exchange(aig: Library, quotes: Table) -> None:
    """The last quote of the exchange that the trade was made at, one side at a time."""
    trades = aig.read("AIG", "trades")
    joined = asof_join(trades, quotes, by="exchange", tolerance="1s", columns=["ts_event", "bid_px_00"])
    frames = [
        table.to_polars(prices="int").with_columns(pl.col("exchange").cast(pl.String)) for table in (trades, quotes)
    ]
    right = frames[1].select("exchange", "ts_event", "bid_px_00", pl.col("ts_event").alias("at"))
    want = frames[0].join_asof(right, on="ts_event", by="exchange", tolerance="1s")
    mine = joined.to_polars(prices="int")
    assert mine["bid_px_00"].equals(want["bid_px_00"], null_equal=True)
    assert mine["ts_event_right"].equals(want["at"], null_equal=True)
    assert mine["ts_event_right"].null_count() > 0


def test_windows_of_the_real_quotes(aig: Library, quotes: Table) -> None:
    trades, best = aig.read("AIG", "trades").slice(2_000, 2_300), nbbo(quotes)
    asked: dict[str, tuple[str, str | None]] = {
        "n": ("count", None),
        "low": ("min", "bid_px_00"),
        "v": ("vwap", "ask_px_00"),
    }
    joined = window_join(trades, best, "500ms", "100ms", asked)
    times = best["ts_index"]
    for place, time in enumerate(trades["ts_index"].tolist()):
        inside = (times >= time - 500_000_000) & (times <= time + 100_000_000)
        assert joined["n"][place] == inside.sum()
        if not inside.any():
            assert (joined["low"][place], joined["v"][place]) == (PRICE_NULL, PRICE_NULL)
            continue
        assert joined["low"][place] == best["bid_px_00"][inside].min()
        prices, sizes = best["ask_px_00"][inside].tolist(), best["ask_sz_00"][inside].tolist()
        assert joined["v"][place] == round(Fraction(sum(map(mul, prices, sizes)), sum(sizes)))
    assert (joined["n"] > 0).sum() > 200


def test_one_book_is_its_own_best(aig: Library) -> None:
    """Databento's mbp-1: one publisher, whose rows state both sides."""
    (series,) = aig.series(schema="mbp-1")
    book = aig.read(series.symbol, "mbp-1")
    best = nbbo(book)
    for name in ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00", "ts_recv"):
        assert np.array_equal(best[name], book[name]), name
    assert (best["bid_ct_00"] == 1).all(), "exchanges, not orders"
