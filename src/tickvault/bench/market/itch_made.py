"""A file of Nasdaq TotalView-ITCH 5.0 made of simulated flow, since no real one may lie here.

Adds become A, executions E, cancels X (a part) or D (the rest), changes U with a new order number; a directory message
R comes first for each stock.  Symbols are interleaved by time, as in a real day.

Layouts: Nasdaq TotalView-ITCH 5.0 (nasdaqtrader.com, specifications of data products).

Invariants: every message names an order that was added before and not yet removed; stamps never fall.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.feeds.text import day_start_ns
from tickvault.market.schema import ADD, BID, CANCEL, F_LAST, MODIFY, TRADE
from tickvault.market.simulate import Market
from tickvault.market.times import to_ns

DAY = "2026-01-05"
NAME = "20260105.NASDAQ_ITCH50"
#: New York's midnight is so long after UTC's in January.
_MIDNIGHT = f"{DAY}T05:00"
_MESSAGE_SIZE_MAX = 40
_PRICE_UNIT = 100_000
_ORDER_BITS = 40


def write_file(path: str, *, symbols: int, rows: int, seed: int = 5) -> int:
    """Write a day of so many symbols from so many simulated rows, and return how many messages it has.

    Parameters
    ----------
    path : str
    symbols, rows : int
        Of the simulated market.
    """
    assert day_start_ns(DAY) == to_ns(DAY), "the day is a day"
    market = Market(symbols=symbols, seed=seed, date=DAY, events=rows)
    names = [one.symbol for one in market.instruments]
    flow, places = _flow(market, names)
    data = np.empty(len(places) * _MESSAGE_SIZE_MAX, np.uint8)
    words = np.array([list(name[:8].ljust(8).encode()) for name in names], np.uint8)
    orders_max = int((flow["order_id"] & np.uint64((1 << _ORDER_BITS) - 1)).max()) + 1
    held = np.zeros((len(names), orders_max, 2), np.int64)
    since = flow["ts_event"] - to_ns(_MIDNIGHT)
    length, count = _messages(
        flow["action"], flow["side"], flow["flags"], flow["order_id"].view(np.int64), flow["price"], flow["size"],
        since, places, words, held, data,
    )  # fmt: skip
    with open(path, "wb") as file:
        file.write(b"".join(_directory(place, name) for place, name in enumerate(names)))
        file.write(data[:length].data)
    return int(count) + len(names)


def _flow(market: Market, names: list[str]) -> tuple[dict[str, Array], Array]:
    """Return the rows of all symbols by time, and the place of the symbol of each."""
    wanted = ("ts_event", "action", "side", "flags", "order_id", "price", "size")
    pieces: dict[str, list[Array]] = {name: [] for name in wanted}
    places = []
    for table in market.flow(["mbo"]):
        for name in wanted:
            pieces[name].append(table[name])
        places.append(np.full(len(table), names.index(table.symbol), np.int64))
    # Stable: the rows of an event stay together, since an event has one time.
    order = np.argsort(np.concatenate(pieces["ts_event"]), kind="stable")
    return {name: np.concatenate(found)[order] for name, found in pieces.items()}, np.concatenate(places)[order]


def _directory(place: int, name: str) -> bytes:
    body = struct.pack(">cHH6s8sccIcc2scccccIc", b"R", place, 0, bytes(6), name[:8].ljust(8).encode(), b"Q", b"N", 100,
                       b"N", b"C", b"Z ", b"P", b"N", b" ", b"1", b"N", 0, b"N")  # fmt: skip
    return struct.pack(">H", len(body)) + body


@njit(nogil=True, cache=True)
def _big(data: Any, at: Any, value: Any, width: Any) -> Any:
    for step in range(width):
        data[at + step] = (value >> (8 * (width - 1 - step))) & 255
    return at + width


@njit(nogil=True, cache=True)
def _head(data: Any, at: Any, size: Any, letter: Any, place: Any, since: Any) -> Any:
    at = _big(data, at, size, 2)
    data[at] = letter
    at = _big(data, at + 1, place, 2)
    at = _big(data, at, 0, 2)
    return _big(data, at, since, 6)


@njit(nogil=True, cache=True)
def _messages(
    actions: Any,
    sides: Any,
    flags: Any,
    numbers: Any,
    prices: Any,
    sizes: Any,
    since: Any,
    places: Any,
    words: Any,
    held: Any,
    data: Any,
) -> Any:
    """Write messages; return their bytes and their count. `held`: of each order, (its number now, what is left)."""
    at, count, given, match = 0, 0, 0, 0
    trading = np.zeros(len(words), np.bool_)
    for row in range(len(actions)):
        action, place, size = actions[row], places[row], sizes[row]
        order = numbers[row] & ((1 << _ORDER_BITS) - 1)
        price = prices[row] // _PRICE_UNIT
        if action == TRADE:
            trading[place] = True
        elif action == ADD:
            given += 1
            held[place, order, 0], held[place, order, 1] = given, size
            at = _head(data, at, 36, 65, place, since[row])
            at = _big(data, at, given, 8)
            data[at] = 66 if sides[row] == BID else 83
            at = _big(data, at + 1, size, 4)
            data[at : at + 8] = words[place]
            at = _big(data, at + 8, price, 4)
            count += 1
        elif action == CANCEL:
            number = held[place, order, 0]
            held[place, order, 1] -= size
            if trading[place]:
                match += 1
                at = _head(data, at, 31, 69, place, since[row])
                at = _big(data, at, number, 8)
                at = _big(data, at, size, 4)
                at = _big(data, at, match, 8)
            elif held[place, order, 1] > 0:
                at = _head(data, at, 23, 88, place, since[row])
                at = _big(data, at, number, 8)
                at = _big(data, at, size, 4)
            else:
                at = _head(data, at, 19, 68, place, since[row])
                at = _big(data, at, number, 8)
            count += 1
        elif action == MODIFY:
            given += 1
            at = _head(data, at, 35, 85, place, since[row])
            at = _big(data, at, held[place, order, 0], 8)
            at = _big(data, at, given, 8)
            at = _big(data, at, size, 4)
            at = _big(data, at, price, 4)
            held[place, order, 0], held[place, order, 1] = given, size
            count += 1
        if flags[row] & F_LAST:
            trading[place] = False
    return at, count
