"""Bytes that a row takes in cold files.

Invariants: after compaction every series reads as it did before; a size is that of the whole file with its footer; a
natural width is the sum of the columns' dtypes, of those columns that are not null throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from crc32c import crc32c

from tickvault.bench.market.files import AIG, BINANCE, ES, LOBSTER, MERGED, SPY, SSE, WHOLE, FileSet
from tickvault.bench.market.goals import at_least, at_most
from tickvault.bench.market.loading import Loaded
from tickvault.bench.market.stage import Held, Stage
from tickvault.bench.report import Row
from tickvault.market.catalog import SeriesKey
from tickvault.market.schema import Kind
from tickvault.market.table import Table


class _Figure(NamedTuple):
    """A row of the report to be: which series, which input, and what is promised."""

    title: str
    files: FileSet
    wanted: Callable[[SeriesKey], bool]
    maximum: float | None
    per_input: str = ""
    """Files whose input rows are counted, by what their name holds; empty: stored rows are."""


def _of(schema: str) -> Callable[[SeriesKey], bool]:
    return lambda key: key.schema == schema


_FIGURES = (
    _Figure("SPY trades", SPY, _of("trades"), 1.65),
    _Figure("AIG quotes", AIG, _of("bbo"), 1.35),
    _Figure("Binance BBO", BINANCE, _of("bbo"), 5.8),
    _Figure("Binance L2 deltas", BINANCE, _of("mbp-delta"), 2.4),
    _Figure("Binance trades", BINANCE, _of("trades"), None),
    _Figure("ES MBO", ES, _of("mbo"), 8.2),
    _Figure("LOBSTER messages and book, an input row", LOBSTER, lambda key: True, 4.5, "_"),
    _Figure("LOBSTER messages, an input row", LOBSTER, _of("mbo"), 4.5, "_message_"),
    _Figure("LOBSTER messages, a stored row", LOBSTER, _of("mbo"), None),
    _Figure("SSE orders + trades, an input row", SSE, lambda key: True, 6.6, "SH"),
    _Figure("SSE orders + trades, a stored row", SSE, lambda key: True, None),
    _Figure("SSE orders and trades merged, an input row", MERGED, lambda key: True, None, "SH"),
    _Figure("SSE orders and trades merged, a stored row", MERGED, lambda key: True, None),
)


def measure(stage: Stage, loaded: Loaded) -> list[Row]:
    """Compress everything, and return what a row takes."""
    if not loaded.sets:
        stage.skip("cold bytes a row")
        return []
    widths: dict[FileSet, _Widths] = {}
    for files, held in loaded.sets.items():
        stage.setting.progress(f"compressing {files.name}")
        widths[files] = _compressed(held)
    rows = [_row(figure, loaded) for figure in _FIGURES if figure.files in loaded.sets]
    whole = [files for files in WHOLE if files in loaded.sets]
    size = sum(_size(loaded.sets[files], lambda key: True)[1] for files in whole)
    natural = sum(widths[files].all_values for files in whole)
    known = sum(widths[files].known_values for files in whole)
    names = ", ".join(files.name for files in whole)
    goal = at_least("rate", 11)
    title = f"natural-width columns over cold files, {names}"
    rows.append(Row(title, ": 1", rate=natural / size, compared="rate", conditions=(goal,)))
    rows.append(Row("the same, values that are not null alone", ": 1", rate=known / size, compared="rate"))
    stage.note(
        "natural widths: 8 bytes for times, prices, sizes, turnover, update ids and order ids, 4 for codes and "
        "instrument_id, 2 for channel_id and publisher_id, 4 for ts_in_delta, 1 for side, action and flags; of the "
        "columns that are not null throughout"
    )
    return rows


def _row(figure: _Figure, loaded: Loaded) -> Row:
    count, size = _size(loaded.sets[figure.files], figure.wanted)
    if figure.per_input:
        reports = loaded.reports[figure.files]
        count = sum(report.rows for report in reports if figure.per_input in report.path)
    goal = () if figure.maximum is None else (at_most("rate", figure.maximum),)
    return Row(f"cold {figure.title}", "bytes", rate=size / count, compared="rate", conditions=goal)


def _size(held: Held, wanted: Callable[[SeriesKey], bool]) -> tuple[int, int]:
    stats = [held.library.stat(key.symbol, key.schema, venue=key.venue) for key in held.library.series() if wanted(key)]
    return sum(stat.rows for stat in stats), sum(stat.size_bytes for stat in stats)


class _Widths(NamedTuple):
    """Bytes that columns take at their own width."""

    all_values: int
    known_values: int
    """Of the values that are not null."""


def _compressed(held: Held) -> _Widths:
    """Compact a library to cold files, and check that it reads as before."""
    before = {key: _fingerprints(table) for key, table in _tables(held)}
    held.library.compact(tier="cold")
    all_values = known_values = 0
    for key, table in _tables(held):
        if _fingerprints(table) != before[key]:
            raise AssertionError(f"{key} does not read as before after compaction")
        for name in table.columns:
            column, array = table.column(name), table[name]
            known = len(array) if column.kind is Kind.FLAGS else int((array != column.null).sum())
            if known:
                all_values += array.nbytes
                known_values += known * array.itemsize
    return _Widths(all_values, known_values)


def _tables(held: Held) -> Iterator[tuple[SeriesKey, Table]]:
    for key in held.library.series():
        yield key, held.library.read(key.symbol, key.schema, venue=key.venue)


def _fingerprints(table: Table) -> dict[str, int]:
    return {name: crc32c(table[name].tobytes()) for name in table.columns}
