"""The flow looks like a market's: loose bounds that a wrong model leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tickvault.market.columns import Array, Columns
from tickvault.market.schema import ADD, BID, CANCEL, F_LAST, MODIFY, TRADE
from tickvault.market.simulate import Instrument, Market

STEP_NS = 30 * 1_000_000_000


class Series(NamedTuple):
    mbo: Columns
    quotes: Columns
    tick: int


@pytest.fixture(scope="module")
def busy() -> tuple[Market, list[Series]]:
    """Two instruments that follow the same factor, and one that does not."""
    tick = 10_000_000
    instruments = [
        Instrument(name, tick, 10_000 * tick, correlation=correlation, volatility=0.008)
        for name, correlation in (("ONE", 0.9), ("TWO", 0.9), ("APART", 0.0))
    ]
    market = Market(instruments, seed=3, events=900_000)
    made: dict[tuple[str, str], Columns] = {}
    for table in market.flow(["mbo", "bbo"], rows=10**6):
        made[table.symbol, table.schema.name] = table.to_columns()
    return market, [Series(made[name, "mbo"], made[name, "bbo"], tick) for name in ("ONE", "TWO", "APART")]


def returns(market: Market, quotes: Columns) -> Array:
    times = np.arange(market.opens_ns + STEP_NS, market.closes_ns, STEP_NS)
    at = np.searchsorted(quotes["ts_event"], times, "right") - 1
    middle = (quotes["bid_px_00"] + quotes["ask_px_00"])[at] / 2
    return np.diff(np.log(middle))


def correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def test_the_spread_is_a_few_ticks(busy: tuple[Market, list[Series]]) -> None:
    for _, quotes, tick in busy[1]:
        spread = (quotes["ask_px_00"] - quotes["bid_px_00"]) // tick
        assert spread.min() == 1
        assert 1.2 < spread.mean() < 4
        assert (spread > 10).mean() < 0.01
        assert len(np.unique(spread)) > 3


def test_most_orders_are_cancelled(busy: tuple[Market, list[Series]]) -> None:
    for mbo, _, _ in busy[1]:
        action = mbo["action"]
        events = (mbo["flags"] & F_LAST) != 0
        added = (action == ADD).sum()
        cancelled = ((action == CANCEL) & events).sum()  # those of a trade are not the last, but for one
        assert 0.3 < (action == ADD).mean() < 0.5
        assert 0.65 < cancelled / added < 1.1
        assert 0.04 < (action == MODIFY).mean() < 0.15
        assert 0.01 < (action == TRADE).mean() < 0.12


def test_returns_have_the_size_asked_for_and_no_memory(busy: tuple[Market, list[Series]]) -> None:
    for _, quotes, _ in busy[1]:
        moves = returns(busy[0], quotes)
        assert 0.004 < moves.std() * len(moves) ** 0.5 < 0.016
        assert abs(correlation(moves[1:], moves[:-1])) < 0.25
        assert ((moves - moves.mean()) ** 4).mean() / moves.var() ** 2 > 3.5


def test_volatility_clusters(busy: tuple[Market, list[Series]]) -> None:
    for _, quotes, _ in busy[1]:
        sizes = np.abs(returns(busy[0], quotes))
        assert np.mean([correlation(sizes[lag:], sizes[:-lag]) for lag in range(1, 11)]) > 0.05
        shuffled = np.random.default_rng(1).permutation(sizes)
        assert abs(np.mean([correlation(shuffled[lag:], shuffled[:-lag]) for lag in range(1, 11)])) < 0.05


def test_what_follows_the_common_factor_moves_together(busy: tuple[Market, list[Series]]) -> None:
    one, two, apart = (returns(busy[0], quotes) for _, quotes, _ in busy[1])
    assert correlation(one, two) > 0.5
    assert abs(correlation(one, apart)) < 0.2
    assert abs(correlation(two, apart)) < 0.2


def test_the_open_and_the_close_are_busy(busy: tuple[Market, list[Series]]) -> None:
    market, series = busy
    total = np.zeros(13)
    for mbo, _, _ in series:
        total += np.histogram(mbo["ts_event"], 13, (market.opens_ns, market.closes_ns))[0]
    middle = total[4:9].mean()
    assert total[0] > 1.5 * middle
    assert total[-1] > 1.5 * middle


def test_arrivals_cluster(busy: tuple[Market, list[Series]]) -> None:
    """Counts of a Poisson process vary as much as their mean; within minutes, so that the day's shape is not it."""
    market, series = busy
    for mbo, _, _ in series:
        times = mbo["ts_event"][(mbo["flags"] & F_LAST) != 0]
        edges = np.arange(market.opens_ns, market.closes_ns, 10**9)
        counts = np.histogram(times, edges)[0]
        counts = counts[: len(counts) // 60 * 60].reshape(-1, 60)
        mean = counts.mean(axis=1)
        ratio = (counts.var(axis=1) / mean)[mean > 1]
        assert np.median(ratio) > 1.5
        poisson = np.random.default_rng(1).poisson(mean[:, None], counts.shape)
        assert np.median((poisson.var(axis=1) / mean)[mean > 1]) < 1.2


def test_sizes_have_a_heavy_tail_and_trades_come_in_runs(busy: tuple[Market, list[Series]]) -> None:
    for mbo, _, _ in busy[1]:
        added = mbo["size"][mbo["action"] == ADD]
        assert added.max() > 100 * np.median(added)
        buys = mbo["side"][mbo["action"] == TRADE] == BID
        assert 0.25 < buys.mean() < 0.75
        assert correlation(buys[1:], buys[:-1]) > 0.2


def test_the_latency_is_skewed(busy: tuple[Market, list[Series]]) -> None:
    for mbo, _, _ in busy[1]:
        latency = mbo["ts_recv"] - mbo["ts_event"]
        assert latency.min() > 5_000
        low, middle, high = np.percentile(latency, [1, 50, 99])
        assert high - middle > 3 * (middle - low)
        assert latency.max() < 5_000_000
