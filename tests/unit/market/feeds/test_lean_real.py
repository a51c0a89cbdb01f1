"""LEAN's real files, every row against polars and Decimal; GC's ticks against LEAN's own minute bars."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from tickvault.market.columns import Array
from tickvault.market.feeds.lean.feed import LeanFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece
from tickvault.market.feeds.source import Source
from tickvault.market.schema import PRICE_NULL, SIZE_NULL

_NS = 1_000_000_000
_ROWS = {
    "equity/usa/tick/spy/*_trade.zip": 1_887_460,
    "equity/usa/tick/aig/*_quote.zip": 3_622_087,
    "equity/usa/tick/aig/*_trade.zip": 120_701,
    # Four more than there are newlines: the last line of each of the four files has none, and is whole.
    "forex/fxcm/tick/eurusd/*_quote.zip": 468_643,
    "future/comex/tick/gc/*_trade.zip": 157_849,
    "future/*/*/*/*_openinterest.zip": 676,
    "future/cme/minute/es/*_trade.zip": 23_948,
    "future/cme/minute/es/*_quote.zip": 47_776,
    "future/comex/minute/gc/*_trade.zip": 8_043,
    "future/comex/minute/gc/*_quote.zip": 143_052,
}
_BAR = ("open", "high", "low", "close")
_QUOTE_BAR = tuple(f"{side}_{name}" for side in ("bid", "ask") for name in (*_BAR, "size"))
_NAMES = {
    ("trade", 6): ("ts_event", "price", "size", "exchange", "conditions", "suspicious"),
    ("quote", 3): ("ts_event", "bid_px_00", "ask_px_00"),
    ("quote", 8): (
        *("ts_event", "bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00"),
        *("exchange", "conditions", "suspicious"),
    ),
    ("quote", 11): ("ts_event", *_QUOTE_BAR),
    ("openinterest", 2): ("ts_event", "quantity"),
}
_ZONES = {"equity": "America/New_York", "forex": "Etc/GMT+5", "future": "UTC"}


def _decoded(path: Path) -> tuple[list[Piece], int]:
    found = list(LeanFeed().decode(Source(path), IngestOptions()))
    pieces = [item for item in found if isinstance(item, Piece)]
    rows = sum(item.rows for item in found if isinstance(item, Counted))
    assert sum(len(piece.columns) for piece in pieces) == rows, "none is quarantined"
    return pieces, rows


def _members(path: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name, pl.read_csv(archive.read(name), has_header=False, infer_schema=False)


@pytest.mark.parametrize("pattern", _ROWS)
def test_every_row(market_data: Path, pattern: str) -> None:
    count = 0
    for path in sorted((market_data / "lean").glob(pattern)):
        assert LeanFeed().recognises(Source(path))
        pieces, rows = _decoded(path)
        assert np.array_equal(np.concatenate([piece.ordinals for piece in pieces]), np.arange(rows))
        count += rows
        begin = 0
        for name, frame in _members(path):
            symbol = _symbol(path, name)
            mine = [piece for piece in pieces if piece.symbol == symbol]
            _agree(path, mine, frame)
            assert mine[0].ordinals[0] == begin, "members follow each other"
            begin += len(frame)
    assert count == _ROWS[pattern]


def _symbol(path: Path, member: str) -> str:
    root = path.parent.name.upper()
    if "future" not in path.parts:
        return root
    month = member.removesuffix(".csv").split("_")[4]
    return f"{root}{'FGHJKMNQUVXZ'[int(month[4:]) - 1]}{month[2:4]}"


def _agree(path: Path, pieces: list[Piece], frame: pl.DataFrame) -> None:
    kind = path.parents[3].name
    day = datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=ZoneInfo(_ZONES[kind]))
    shown = path.stem.split("_")[1]
    names = _NAMES.get((shown, frame.width), ("ts_event", *_BAR, "volume"))
    if shown == "trade" and path.parents[1].name == "minute":
        names = ("ts_event", *_BAR, "volume")
    texts = dict(zip(names, frame.columns, strict=True))
    for name, column in texts.items():
        told = frame[column]
        if name in ("exchange", "conditions"):
            got: list[str | None] = []
            for piece in pieces:
                words = [*piece.columns.dictionaries.get(name, []), None]
                got += [words[code] for code in piece.columns[name].tolist()]
            assert pl.Series(got, dtype=pl.String).equals(told, null_equal=True), name
            continue
        values = np.concatenate([piece.columns[name] for piece in pieces])
        assert np.array_equal(values, _wanted(name, frame, texts, day, kind)), name


def _wanted(name: str, frame: pl.DataFrame, texts: dict[str, str], day: datetime, kind: str) -> Array:
    told = frame[texts[name]]
    if name == "ts_event":
        return int(day.timestamp()) * _NS + told.cast(pl.Int64).to_numpy() * 1_000_000
    sizes = {"bid_sz_00": "bid_px_00", "ask_sz_00": "ask_px_00", "bid_size": "bid_close", "ask_size": "ask_close"}
    if name in sizes:
        price = frame[texts[sizes[name]]]
        absent = price.is_null() | ((price == "0") & (kind == "equity"))
        return np.where((absent & (told == "0")).to_numpy(), SIZE_NULL, told.cast(pl.Int64).to_numpy())
    if name in ("size", "volume", "quantity", "suspicious"):
        return told.cast(pl.Int64).to_numpy()
    unit = Decimal(100_000) if kind == "equity" else Decimal(_NS)
    exact = {text: int(Decimal(text) * unit) for text in told.drop_nulls().unique()}
    if kind == "equity" and "_px_" in name:
        exact["0"] = PRICE_NULL
    made = told.replace_strict(exact, return_dtype=pl.Int64) if exact else told.cast(pl.Int64)
    return made.fill_null(PRICE_NULL).to_numpy()


@pytest.mark.parametrize("day", ["20131007", "20131008", "20131009"])
def test_gc_ticks_make_leans_minute_bars(market_data: Path, day: str) -> None:
    """Every tick moves a bar's prices, those of size 0 too; the last line of a contract's day is written twice.

    The rule was found on these files: with every tick the prices are right and the last bar's volume is the last tick's
    size too high; without ticks of size 0 some highs and lows are missed, and whole bars of the far contracts.
    """
    lean = market_data / "lean" / "future" / "comex"
    ticks, _ = _decoded(lean / "tick" / "gc" / f"{day}_trade.zip")
    bars = {piece.symbol: piece.columns for piece in _decoded(lean / "minute" / "gc" / f"{day}_trade.zip")[0]}
    assert "GCZ13" in {piece.symbol for piece in ticks}
    for piece in ticks:
        t, want = piece.columns, bars[piece.symbol]
        assert all(t[name][-1] == t[name][-2] for name in ("ts_event", "price", "size")), "the last line is repeated"
        price, size = t["price"][:-1], t["size"][:-1]
        minutes, first = np.unique(t["ts_event"][:-1] // (60 * _NS), return_index=True)
        last = np.append(first[1:], len(price)) - 1
        assert np.array_equal(minutes * 60 * _NS, want["ts_event"])
        assert np.array_equal(price[first], want["open"])
        assert np.array_equal(np.maximum.reduceat(price, first), want["high"])
        assert np.array_equal(np.minimum.reduceat(price, first), want["low"])
        assert np.array_equal(price[last], want["close"])
        assert np.array_equal(np.add.reduceat(size, first), want["volume"])
        assert not t["suspicious"].any(), "none is marked here; LEAN's bars would leave it out"
