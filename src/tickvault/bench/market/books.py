"""Replaying an order book.

Invariants: each replay begins with an empty book; the rows are in memory, as the first replay left them.
"""

from __future__ import annotations

from tickvault.bench.market.goals import at_least
from tickvault.bench.market.loading import Loaded
from tickvault.bench.market.stage import Stage
from tickvault.bench.market.turns import repeated
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import alternate
from tickvault.market.book import OrderBook
from tickvault.market.table import Table


def measure(stage: Stage, loaded: Loaded) -> list[Row]:
    """Return the replay of orders; an event is a row of `mbo`."""
    series = loaded.orders
    stage.setting.progress(f"book replay of {series.title}")
    read = series.read()
    table = Table.of(read.to_columns(), read.venue, read.symbol)
    book = OrderBook().apply(table)
    (made,) = alternate(
        lambda: repeated(lambda: OrderBook().apply(table), stage.scale.seconds, len(table)), rounds=stage.scale.rounds
    )
    stage.note(f"the book of {series.title}: {book.rows:,} rows, {book.events:,} of them the last of their event")
    return [row_of(f"book replay of {series.title}", made, at_least("rate", 10_000_000), unit="events/s")]
