"""ITCH 5.0 for tests: messages written from the tables of the specification, and a plain reading of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

# Each field: its struct format, after type, locate, tracking number and the stamp's six bytes.
BODIES = {
    "S": "c",
    "R": "8sccIcc2scccccIc",
    "H": "8scc4s",
    "Y": "8sc",
    "L": "4s8sccc",
    "V": "QQQ",
    "W": "c",
    "K": "8sIcI",
    "J": "8sIIII",
    "h": "8scc",
    "A": "QcI8sI",
    "F": "QcI8sI4s",
    "E": "QIQ",
    "C": "QIQcI",
    "X": "QI",
    "D": "Q",
    "U": "QQII",
    "P": "QcI8sIQ",
    "Q": "Q8sIQc",
    "B": "Q",
    "I": "QQc8sIIIcc",
    "N": "8sc",
    "O": "8scIIIQII",
}
DAY = "2019-01-30"


def message(kind: str, locate: int, since: int, *fields: Any) -> bytes:
    head = kind.encode() + struct.pack(">HH", locate, 2) + since.to_bytes(6, "big")
    values = [field.encode().ljust(8) if isinstance(field, str) and len(field) > 1 else field for field in fields]
    values = [value.encode() if isinstance(value, str) else value for value in values]
    return head + struct.pack(">" + BODIES[kind], *values)


def stock(locate: int, symbol: str, since: int = 0, *, test: bool = False) -> bytes:
    fields = (b"Q", b"N", 100, b"N", b"C", b"Z ", b"T" if test else b"P", b"N", b" ", b"1", b"N", 0, b"N")
    return message("R", locate, since, symbol.encode().ljust(8), *fields)


def file_of(messages: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(one)) + one for one in messages)


def mold(
    sequence: int, messages: Sequence[bytes], *, session: bytes = b"000000001A", count: int | None = None
) -> bytes:
    number = len(messages) if count is None else count
    return session + struct.pack(">QH", sequence, number) + file_of(messages)


class Row(NamedTuple):
    """A stored row, by the rules of the feed's documentation."""

    symbol: str
    schema: str
    ts_event: int
    sequence: int
    action: str
    side: str = "N"
    price: int | None = None
    size: int | None = None
    order_id: int | None = None
    match: int | None = None
    printable: str = ""
    flags: int = 128
    conditions: str | None = None


class Reading(NamedTuple):
    rows: list[Row]
    bad: list[int]
    """Input rows that make none."""
    count: int


def midnight_ns(day: str = DAY) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * 10**9


def read(messages: Sequence[tuple[int, bytes, int]], *, day: str = DAY) -> Reading:
    """Read (number, message, flag of doubt) one by one, with a dict of orders."""
    orders: dict[int, tuple[str, int, int]] = {}
    names: dict[int, str] = {}
    rows: list[Row] = []
    bad: list[int] = []
    midnight = midnight_ns(day)
    for place, (sequence, raw, doubt) in enumerate(messages):
        kind = chr(raw[0])
        if kind not in BODIES:
            continue
        if len(raw) != 11 + struct.calcsize(">" + BODIES[kind]):
            bad.append(place)
            continue
        locate = int.from_bytes(raw[1:3], "big")
        ts = midnight + int.from_bytes(raw[5:11], "big")
        fields = struct.unpack(">" + BODIES[kind], raw[11:])
        made = list(_rows(kind, fields, orders, names, locate))
        if made == [None]:
            bad.append(place)
            continue
        for row in made:
            assert row is not None
            clamped = row.flags & 4
            last = [other for other in made if other is not None and other.schema == row.schema][-1] is row
            rows.append(
                row._replace(
                    symbol=names[locate] if row.symbol == "" else row.symbol,
                    ts_event=ts,
                    sequence=sequence,
                    flags=(128 if last else 0) | doubt | clamped,
                )
            )
    return Reading(rows, bad, len(messages))


def _rows(
    kind: str, fields: tuple[Any, ...], orders: dict[int, tuple[str, int, int]], names: dict[int, str], locate: int
) -> Iterator[Row | None]:
    other = {"B": "A", "A": "B"}
    if kind in "AF":
        order, side, shares, symbol, price = fields[:5]
        side = {b"B": "B", b"S": "A"}.get(side)
        if side is None or price >= 1 << 31:
            yield None
            return
        names.setdefault(locate, symbol.decode().strip())
        orders[order] = (side, shares, price)
        yield Row("", "mbo", 0, 0, "A", side, price * 100_000, shares, order)
    elif kind in "ECXDU":
        if fields[0] not in orders or (kind == "U" and fields[3] >= 1 << 31):
            yield None
            return
        side, remaining, price = orders.pop(fields[0])
        removed = remaining if kind in "DU" else fields[1]
        flags = 4 if removed > remaining else 0
        if kind in "EC":
            at = (fields[4] if kind == "C" else price) * 100_000
            printable = fields[3].decode() if kind == "C" else "Y"
            yield Row("", "mbo", 0, 0, "T", other[side], at, removed, 0, fields[2], printable, flags)
            yield Row("", "mbo", 0, 0, "F", side, at, removed, fields[0], fields[2], printable, flags)
        taken = min(removed, remaining)
        yield Row("", "mbo", 0, 0, "C", side, price * 100_000, taken, fields[0], flags=flags)
        if kind in "EC" and printable != "N":
            words = "own price" if kind == "C" else None
            yield Row("", "trades", 0, 0, "T", other[side], at, removed, fields[0], fields[2], "", flags, words)
        if kind == "U":
            orders[fields[1]] = (side, fields[2], fields[3])
            yield Row("", "mbo", 0, 0, "A", side, fields[3] * 100_000, fields[2], fields[1])
        elif taken < remaining:
            orders[fields[0]] = (side, remaining - taken, price)
    elif kind == "P":
        order, _, shares, symbol, price, match = fields
        names.setdefault(locate, symbol.decode().strip())
        yield Row("", "mbo", 0, 0, "T", "N", price * 100_000, shares, order, match, "Y")
        yield Row("", "trades", 0, 0, "T", "N", price * 100_000, shares, None, match, conditions="hidden")
    elif kind == "Q":
        shares, symbol, price, match, cross = fields
        names.setdefault(locate, symbol.decode().strip())
        if shares == 0:
            yield Row("", "mbo", 0, 0, "N", "N", price * 100_000 or None, 0, 0, match)
            return
        words = f"cross {cross.decode()}" if cross in (b"O", b"C", b"H", b"I") else "cross"
        yield Row("", "mbo", 0, 0, "T", "N", price * 100_000, shares, 0, match, "Y")
        yield Row("", "trades", 0, 0, "T", "N", price * 100_000, shares, None, match, conditions=words)
    elif kind == "B":
        if locate not in names:
            yield None
            return
        yield Row("", "trades", 0, 0, "C", match=fields[0])
    elif kind in "RHYh":
        if kind == "R":
            names[locate] = fields[0].decode().strip()
        names.setdefault(locate, fields[0].decode().strip())
        yield Row("", "definition" if kind == "R" else "status", 0, 0, kind)
    elif kind == "S":
        yield Row("*", "status", 0, 0, kind)
