"""What the ITCH feed gave, row by row, to compare with the plain reading."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import itch_reading as itch
from itch_reading import Row, message, stock

from tickvault.errors import IntegrityError
from tickvault.market.columns import Columns
from tickvault.market.feeds.itch.feed import ItchFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source

NOON = 12 * 3600 * 10**9
T = 1_548_867_600_000_000_000
NONE = 2**63 - 1
NO_ID = 2**64 - 1


class Decoded:
    """What a feed gave, row by row in the order of the ordinals."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.feed = ItchFeed()
        self.pieces: list[Piece] = []
        self.bad: list[Quarantined] = []
        self.count = 0
        self.damage: IntegrityError | None = None
        try:
            for one in self.feed.decode(Source(path), IngestOptions(**options)):
                if isinstance(one, Piece):
                    self.pieces.append(one)
                elif isinstance(one, Quarantined):
                    self.bad.append(one)
                else:
                    assert isinstance(one, Counted)
                    self.count += one.rows
        except IntegrityError as error:
            self.damage = error
        found = sorted(
            ((int(o), p.symbol, p.columns, r) for p in self.pieces for r, o in enumerate(p.ordinals)), key=_first
        )
        assert [ordinal for ordinal, *_ in found] == list(range(len(found)))
        self.rows = [_row(symbol, columns, place) for _, symbol, columns, place in found]

    def series(self, symbol: str, schema: str) -> list[Columns]:
        return [p.columns for p in self.pieces if p.symbol == symbol and p.columns.schema.name == schema]


def _first(found: tuple[int, str, Columns, int]) -> int:
    return found[0]


def _row(symbol: str, columns: Columns, place: int) -> Row:
    schema = columns.schema.name
    ts = int(columns["ts_event"][place])
    if schema in ("definition", "status"):
        kind = "R" if schema == "definition" else chr(columns["message"][place])
        sequence = 0 if schema == "definition" else int(columns["sequence"][place])
        return Row(symbol, schema, ts, sequence, kind)
    match = int(columns["match_number" if schema == "mbo" else "trade_id"][place])
    order = int(columns["order_id"][place])
    words = int(columns["conditions"][place]) if schema == "trades" else -1
    price, size = int(columns["price"][place]), int(columns["size"][place])
    return Row(
        symbol,
        schema,
        ts,
        int(columns["sequence"][place]),
        chr(columns["action"][place]),
        chr(columns["side"][place]),
        None if price == NONE else price,
        None if size == NONE else size,
        None if order == NO_ID else order,
        None if match == NO_ID else match,
        chr(columns["printable"][place]).strip("\0") if schema == "mbo" else "",
        int(columns["flags"][place]),
        columns.dictionaries["conditions"][words] if words >= 0 else None,
    )


def plain(rows: list[Row]) -> list[Row]:
    """Leave out what the events' rows are not compared by."""
    events = {"definition": {"sequence": 0, "flags": 128}, "status": {"flags": 128}}
    return [row._replace(**events.get(row.schema, {})) for row in rows]


def decode(folder: Path, messages: list[bytes], **options: Any) -> Decoded:
    path = folder / "01302019.NASDAQ_ITCH50"
    path.write_bytes(itch.file_of(messages))
    return Decoded(path, **options)


def agree(found: Decoded, wanted: itch.Reading) -> None:
    assert found.rows == plain(wanted.rows)
    assert [one.row for one in found.bad] == wanted.bad
    assert found.count == wanted.count


def numbered(messages: list[bytes], doubt: int = 0) -> list[tuple[int, bytes, int]]:
    return [(place + 1, one, doubt) for place, one in enumerate(messages)]


def add(
    order: int, side: str = "B", shares: int = 300, price: int = 1_234_500, kind: str = "A", locate: int = 7
) -> bytes:
    more = (b"GSCO",) if kind == "F" else ()
    return message(kind, locate, NOON, order, side, shares, b"AAPL    ", price, *more)


def script(seed: int, length: int) -> list[bytes]:
    """Return random messages of few stocks, most of them right."""
    chance = random.Random(seed)
    made = [stock(locate, f"S{locate}") for locate in range(1, 5)]
    orders: list[tuple[int, int]] = [(0, 1)]
    number = 1
    for place in range(length):
        order, locate = chance.choice(orders)
        number += chance.choice((1, 1, 2, 65_536))
        kind = chance.choice("AAAAFEECXXDDUUPQBHIN")
        since, shares, price = NOON + place, chance.randrange(1, 400), chance.randrange(1 << 31)
        if kind in "AF":
            locate = chance.randrange(1, 6)
            symbol = f"S{locate}".ljust(8).encode()
            made.append(
                message(
                    kind, locate, since, number, chance.choice("BS"), shares, symbol, price, *[b"MPID"] * (kind == "F")
                )
            )
            orders.append((number, locate))
        elif kind == "U":
            made.append(message("U", locate, since, order, number, shares, price))
            orders[orders.index((order, locate))] = (number, locate)
        else:
            symbol = f"S{locate}".ljust(8).encode()
            fields: dict[str, tuple[Any, ...]] = {
                "E": (order, shares, number),
                "C": (order, shares, number, chance.choice("YN"), price),
                "X": (order, shares),
                "D": (order,),
                "P": (0, "B", shares, symbol, price, number),
                "Q": (chance.choice((0, shares)), symbol, price, number, chance.choice("OCHIA")),
                "B": (number,),
                "H": (symbol, "T", " ", b"    "),
                "I": (1, 2, "B", symbol, 1, 2, 3, "O", "L"),
                "N": (symbol, "A"),
            }
            made.append(message(kind, locate, since, *fields[kind]))
    return made
