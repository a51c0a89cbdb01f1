"""IEX DEEP and TOPS for tests: messages written from the tables of the specifications, and a plain reading."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

TOPS_15, TOPS_16, DEEP_10 = 0x8002, 0x8003, 0x8004
# Each field after the type: flags or detail, time, and the rest.
BODIES = {
    "S": "cq",
    "D": "Bq8sIqB",
    "H": "cq8s4s",
    "I": "cq8s",
    "O": "cq8s",
    "P": "Bq8sc",
    "E": "cq8s",
    "8": "Bq8sIq",
    "5": "Bq8sIq",
    "Q": "Bq8sIqqI",
    "T": "Bq8sIqq",
    "X": "cq8sq",
    "B": "Bq8sIqq",
    "A": "cq8sIqqIcBIqqqq",
}


def message(kind: str, detail: int | str, ts: int, *fields: Any, more: bytes = b"") -> bytes:
    first = detail.encode() if isinstance(detail, str) else detail
    values = [field.ljust(8).encode() if isinstance(field, str) else field for field in fields]
    return kind.encode() + struct.pack("<" + BODIES[kind], first, ts, *values) + more


def segment(
    first: int,
    messages: Sequence[bytes],
    *,
    protocol: int = DEEP_10,
    channel: int = 1,
    session: int = 1_150_681_088,
    offset: int = 0,
) -> bytes:
    body = b"".join(struct.pack("<H", len(one)) + one for one in messages)
    head = struct.pack("<BxHIIHHqqq", 1, protocol, channel, session, len(body), len(messages), offset, first, 1)
    assert len(head) == 40
    return head + body


class Row(NamedTuple):
    """A stored row, by the rules of the feed's documentation."""

    symbol: str
    schema: str
    ts_event: int
    ts_recv: int
    sequence: int
    flags: int = 128
    values: tuple[Any, ...] = ()


def _letters(flags: int, bits: dict[int, str]) -> str | None:
    return "".join(letter for bit, letter in bits.items() if flags & bit) or None


def read(messages: Sequence[tuple[int, int, bytes, int]]) -> tuple[list[Row], list[int]]:
    """Read (number, time of receipt, message, flag of doubt) one by one; the rows, and which make none."""
    rows, bad = [], []
    for place, (number, received, raw, doubt) in enumerate(messages):
        kind = chr(raw[0])
        if kind not in BODIES:
            continue
        body = struct.Struct("<" + BODIES[kind])
        if len(raw) < 1 + body.size:
            bad.append(place)
            continue
        fields = body.unpack(raw[1 : 1 + body.size])
        if kind in "AI":
            continue
        symbol = "*" if kind == "S" else fields[2].decode().strip()
        if kind in "85":
            flags, values = 128 * (fields[0] & 1), ("B" if kind == "8" else "A", fields[4] * 100_000, fields[3])
            schema, prices = "mbp-delta", fields[4:5]
        elif kind == "Q":
            schema, flags, prices = "bbo", 128, fields[4:6]
            bid = (fields[4] * 100_000, fields[3]) if fields[3] else (None, None)
            ask = (fields[5] * 100_000, fields[6]) if fields[6] else (None, None)
            values = (*bid, *ask, _letters(fields[0], {0x80: "A", 0x40: "P"}))
        elif kind in "TB":
            schema, flags, prices = "trades", 128, fields[4:5]
            words = _letters(fields[0], {0x80: "F", 0x40: "T", 0x20: "I", 0x10: "8", 0x08: "X"})
            values = ("T" if kind == "T" else "C", "N", fields[4] * 100_000, fields[3], fields[5], words)
        else:
            schema = {"D": "definition", "X": "statistics"}.get(kind, "status")
            flags, values, prices, doubt = 128, (kind,), (), 0
        if any(not 0 <= price <= (2**63 - 2) // 100_000 for price in prices):
            bad.append(place)
            continue
        rows.append(Row(symbol, schema, fields[1], received, number, flags | doubt, values))
    return rows, bad
