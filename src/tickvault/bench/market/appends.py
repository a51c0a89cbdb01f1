"""Many small appends: what is listed and read after them must not take longer than before.

Invariants: the rows that are read are the same ones in the same order, after few appends and after many.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tickvault.bench.market.goals import at_most
from tickvault.bench.market.stage import Stage
from tickvault.bench.market.turns import once, repeated
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import Sample, alternate
from tickvault.market.library import Library

SYMBOL, SCHEMA = "ES", "trades"
ROWS = 100
FEW = 10
_FIRST_NS = 1_767_600_000_000_000_000
_STEP_NS = 1_000_000


def measure(stage: Stage) -> list[Row]:
    """Return listing and reading after many appends, beside after few."""
    scale, many = stage.scale, stage.scale.append_count
    stage.setting.progress(f"{many:,} appends of {ROWS} rows")
    few, full = stage.new_library("relaxed").library, stage.new_library("relaxed").library
    batches = list(made_batches(many))
    for batch in batches[:FEW]:
        few.append(SYMBOL, SCHEMA, batch)
    made = once(lambda: [full.append(SYMBOL, SCHEMA, batch) for batch in batches], many)
    if not np.array_equal(_read(few)["price"], _read(full)["price"]):
        raise AssertionError("the fixed rows read otherwise after many appends")
    rows = [row_of(f"appends of {ROWS} rows, relaxed", Sample(1e6 / made.rate, None, made.rate))]
    for name, action in (("listing", _list), ("reading a fixed 1,000 rows", _read)):
        before, after = alternate(
            lambda action=action: repeated(lambda: action(few), scale.seconds),  # type: ignore[misc]
            lambda action=action: repeated(lambda: action(full), scale.seconds),  # type: ignore[misc]
            rounds=scale.rounds,
        )
        title = f"{name} after {many:,} appends of {ROWS} rows, beside after {FEW}"
        rows.append(row_of(title, after, at_most("ratio", 1.2, f"after {FEW}"), limit=before.p50))
    return rows


def made_batches(count: int) -> Iterator[dict[str, Any]]:
    """Make appends of a quiet series: a row each millisecond, prices in ticks of 0.25."""
    random = np.random.default_rng(7)
    for number in range(count):
        steps = np.arange(number * ROWS, (number + 1) * ROWS, dtype=np.int64)
        yield {
            "ts_recv": _FIRST_NS + steps * _STEP_NS,
            "price": 4_750_000_000_000 + np.cumsum(random.integers(-1, 2, ROWS)) * 250_000_000,
            "size": random.integers(1, 50, ROWS),
        }


def _list(library: Library) -> None:
    library.symbols()
    library.versions(SYMBOL, SCHEMA)
    library.stat(SYMBOL, SCHEMA)


def _read(library: Library) -> Any:
    table = library.read(SYMBOL, SCHEMA, _FIRST_NS, _FIRST_NS + FEW * ROWS * _STEP_NS)
    assert len(table) == FEW * ROWS, "the fixed rows are those of the first appends"
    for name in table.columns:
        table[name]
    return table
