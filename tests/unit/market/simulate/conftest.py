"""A simulated day that the tests of the simulator share, and a book that knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tickvault.market.columns import Columns
from tickvault.market.joining import join_columns
from tickvault.market.simulate import Market
from tickvault.market.table import Table

Day = dict[tuple[str, str], Columns]


def gathered(tables: Iterable[Table]) -> Day:
    """The whole of each series, by symbol and schema."""
    pieces: dict[tuple[str, str], list[Columns]] = {}
    for table in tables:
        pieces.setdefault((table.symbol, table.schema.name), []).append(table.to_columns())
    return {series: join_columns(found) for series, found in pieces.items()}


@pytest.fixture(scope="session")
def market() -> Market:
    return Market(symbols=3, seed=5, events=300_000)


@pytest.fixture(scope="session")
def day(market: Market) -> Day:
    return gathered(market.flow(["mbo", "trades", "bbo", "definition", "status"]))
