"""Rows in libraries: those of real files, or simulated ones where there are none.

Invariants: each set of files has a library of its own; a simulated series stands in for a real one under a title that
says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tickvault.bench.market.files import AIG, ALL, ES, SPY, FileSet, paths_of
from tickvault.bench.market.stage import Held, Stage
from tickvault.market.catalog import Catalog, Part, SeriesKey
from tickvault.market.ingest import IngestReport
from tickvault.market.simulate import Market
from tickvault.market.table import Table


class Series(NamedTuple):
    """A series that a chapter measures."""

    title: str
    """As rows name it."""
    held: Held
    key: SeriesKey

    def read(self) -> Table:
        """Return all rows."""
        return self.held.library.read(self.key.symbol, self.key.schema, venue=self.key.venue)

    def parts(self) -> Sequence[Part]:
        """Return the files of columns, the one of most rows first."""
        return sorted(Catalog(self.held.store).manifest(self.key).live_parts, key=lambda part: -part.rows)


@dataclass(slots=True)
class Loaded:
    """What there is to measure."""

    trades: Series
    quotes: Series
    quoted_trades: Series
    """Trades of the symbol that the quotes are of."""
    orders: Series
    """Order by order."""
    sets: dict[FileSet, Held] = field(default_factory=dict)
    reports: dict[FileSet, list[IngestReport]] = field(default_factory=dict)


def load(stage: Stage) -> Loaded:
    """Take all there is into libraries, as files of columns that are mapped."""
    sets: dict[FileSet, Held] = {}
    reports: dict[FileSet, list[IngestReport]] = {}
    for files in ALL:
        paths = paths_of(stage.data, files)
        if not paths:
            continue
        stage.setting.progress(f"ingesting {', '.join(files.patterns)}")
        held = sets[files] = stage.library(files.name)
        reports[files] = [held.library.ingest(path) for path in paths]
        held.library.compact(tier="warm")
    missing = [files.name for files in ALL if files not in sets]
    if missing:
        stage.skip(f"what is of the files of {', '.join(missing)}")
    made = _Simulated(stage)
    return Loaded(
        _series("SPY trades", sets.get(SPY), "SPY", "trades") or made.series("trades"),
        _series("AIG quotes", sets.get(AIG), "AIG", "bbo") or made.series("bbo"),
        _series("AIG trades", sets.get(AIG), "AIG", "trades") or made.series("trades"),
        _series("ES MBO", sets.get(ES), "ESH4", "mbo") or made.series("mbo"),
        sets,
        reports,
    )


def _series(title: str, held: Held | None, symbol: str, schema: str) -> Series | None:
    found = [] if held is None else held.library.series(symbol, schema)
    return Series(title, held, found[0]) if held is not None and found else None


class _Simulated:
    """One simulated symbol, made when it is first asked for."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._held: Held | None = None

    def series(self, schema: str) -> Series:
        if self._held is None:
            self._stage.setting.progress("simulating a day")
            self._held = self._stage.library("simulated")
            for table in Market(symbols=1, seed=3, events=self._stage.scale.simulated_rows).flow(
                ["mbo", "trades", "bbo"]
            ):
                self._held.library.append(table.symbol, table.schema.name, table)
            self._held.library.compact(tier="warm")
        (key,) = self._held.library.series(None, schema)
        titles = {"mbo": "simulated orders", "bbo": "simulated quotes", "trades": "simulated trades"}
        return Series(titles[schema], self._held, key)
