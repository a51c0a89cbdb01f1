"""Shanghai's and Shenzhen's files as the csv module and Decimal read them, and what a book makes of `mbo`."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tickvault.market.feeds.china.feed import ChinaFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source

SHANGHAI = ZoneInfo("Asia/Shanghai")


def lines_of(path: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return list(csv.DictReader(io.StringIO(text)))


def nanoseconds(date: str, time: str) -> int:
    text = f"{date.replace('.', '-')}T{time}"
    since = datetime.fromisoformat(text).replace(tzinfo=SHANGHAI) - datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
    return since // timedelta(microseconds=1) * 1000


def price(text: str) -> int:
    """A price of the exchanges has at most three digits; the files write the float next to it."""
    return int(round(Decimal(text), 4) * 10**9)


def decoded(path: Path, **options: Any) -> tuple[int, list[Piece], list[Quarantined]]:
    feed, source = ChinaFeed(), Source(path)
    assert feed.recognises(source)
    parts = list(feed.decode(source, IngestOptions(**options)))
    ordinals = sorted(number for part in parts if isinstance(part, Piece) for number in part.ordinals.tolist())
    assert ordinals == list(range(len(ordinals)))
    return (
        sum(part.rows for part in parts if isinstance(part, Counted)),
        [part for part in parts if isinstance(part, Piece)],
        [part for part in parts if isinstance(part, Quarantined)],
    )


def rows_of(pieces: list[Piece], schema: str, symbol: str, *names: str) -> list[tuple[Any, ...]]:
    """Return the rows of a series; letters as text."""
    out: list[tuple[Any, ...]] = []
    for piece in pieces:
        if piece.columns.schema.name == schema and piece.symbol == symbol:
            taken = [piece.columns[name].tolist() for name in names]
            for at, name in enumerate(names):
                if name in {"action", "side"}:
                    taken[at] = [chr(value) for value in taken[at]]
            out += zip(*taken, strict=True)
    return out


def shanghai_mbo(lines: list[dict[str, str]]) -> Iterator[tuple[Any, ...]]:
    """Yield (action, side, order_id, price, size, sequence, ts_event) of one security's lines of the merged file."""
    resting: dict[int, int] = {}
    for line in sorted(lines, key=lambda line: int(line["ApplSeqNum"])):
        size, units = int(line["Qty"]), int(line["Price"]) * 100_000
        tail = int(line["ApplSeqNum"]), nanoseconds(line["Date"], line["Time"])
        flag = line["BSFlag"]
        if line["SourceType"] == "0":
            order, side = int(line["BuyNo"]), "B" if flag == "1" else "A"
            if line["Type"] == "2":
                resting[order] = units
            yield "A" if line["Type"] == "2" else "C", side, order, units, size, *tail
            continue
        sides = {"B": int(line["BuyNo"]), "A": int(line["SellNo"])}
        aggressor = {"1": "B", "2": "A", "0": "N"}[flag]
        yield "T", aggressor, sides.get(aggressor, 0), units, size, *tail
        for side, order in sides.items():
            if side != aggressor:
                yield "F", side, order, units, size, *tail
                yield "C", side, order, resting.get(order, units), size, *tail


def crossings(rows: list[tuple[Any, ...]], begin: int, end: int) -> tuple[int, int]:
    """Replay (action, side, order_id, price, size, flags, ts_event); return (events, events after which it crossed).

    No order may be unknown, none may become less than nothing; only from `begin` to `end` is crossing looked for.
    """
    book: dict[int, list[Any]] = {}
    levels: dict[str, dict[int, int]] = {"A": {}, "B": {}}
    events = crossed = 0
    for action, side, order, units, size, flags, ts in rows:
        if action == "A":
            assert order not in book
            book[order] = [side, units, size]
            levels[side][units] = levels[side].get(units, 0) + size
        elif action == "C":
            found = book[order]
            assert found[0] == side and found[1] == units and found[2] >= size
            found[2] -= size
            levels[side][units] -= size
            if not levels[side][units]:
                del levels[side][units]
            if not found[2]:
                del book[order]
        if flags & 128 and begin <= ts < end:
            events += 1
            if levels["A"] and levels["B"]:
                crossed += max(levels["B"]) >= min(levels["A"])
    return events, crossed
