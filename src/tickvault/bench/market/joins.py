"""As-of joins beside polars: each trade with the best quote that was there.

Invariants: both give the same rows, which is checked before anything is timed.
"""

from __future__ import annotations

from typing import Any

from tickvault.bench.market.goals import Goal, at_most
from tickvault.bench.market.loading import Loaded, Series
from tickvault.bench.market.stage import Stage
from tickvault.bench.market.turns import once, repeated
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import alternate
from tickvault.market.joins import asof_join, nbbo
from tickvault.market.table import Table

_SIDES = ("bid_px_00", "bid_sz_00", "bid_ct_00", "ask_px_00", "ask_sz_00", "ask_ct_00")


def measure(stage: Stage, loaded: Loaded) -> list[Row]:
    """Return the join without and with `by`, and the best quote itself."""
    stage.setting.progress(f"as-of join of {loaded.quoted_trades.title} to nbbo of {loaded.quotes.title}")
    return [
        _joined(stage, loaded, None, at_most("ratio", 0.5, "polars")),
        _joined(stage, loaded, "symbol", at_most("ratio", 0.15, "polars")),
        _best_quotes(stage, loaded.quotes),
    ]


def _joined(stage: Stage, loaded: Loaded, by: str | None, goal: Goal) -> Row:
    left, right = _table(loaded.quoted_trades, by), nbbo(_table(loaded.quotes, by))
    frames = _frame(left, by), _frame(right, by)
    _check_equal(asof_join(left, right, by=by), _polars_join(*frames, by))
    seconds = stage.scale.seconds
    rival, ours = alternate(
        lambda: repeated(lambda: _polars_join(*frames, by), seconds),
        lambda: repeated(lambda: asof_join(left, right, by=by), seconds),
        rounds=stage.scale.rounds,
    )
    words = "without by" if by is None else "with by"
    title = f"as-of join of {loaded.quoted_trades.title} to their nbbo, beside polars {words}"
    return row_of(title, ours, goal, limit=rival.p50)


def _best_quotes(stage: Stage, quotes: Series) -> Row:
    table = _table(quotes, None)
    (made,) = alternate(lambda: once(lambda: nbbo(table), len(table)), rounds=stage.scale.rounds)
    return row_of(f"nbbo of {quotes.title}", made, unit="rows/s")


def _table(series: Series, by: str | None) -> Table:
    symbol: Any = [series.key.symbol] if by else series.key.symbol
    table = series.held.library.read(symbol, series.key.schema, venue=series.key.venue)
    # Rows in memory, as whoever joins more than once has them.
    return Table.of(table.to_columns(), table.venue, table.symbol)


def _frame(table: Table, by: str | None) -> Any:
    import polars as pl

    frame = table.to_polars(prices="int").rename({"ts_recv" if "ts_recv" in table else "ts_event": "ts_index"})
    return frame.with_columns(pl.col(by).cast(pl.Categorical)) if by else frame


def _polars_join(left: Any, right: Any, by: str | None) -> Any:
    # With a `by` polars cannot check the order of the times, and warns of it unless it is told not to; we always check.
    return left.join_asof(right, on="ts_index", by=by, check_sortedness=by is None)


def _check_equal(ours: Table, theirs: Any) -> None:
    mine = ours.to_polars(prices="int")
    for name in _SIDES:
        if not mine[name].equals(theirs[name], null_equal=True):
            raise AssertionError(f"asof_join and polars differ in {name}")
