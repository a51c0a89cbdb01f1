"""Lines of Shanghai's and Shenzhen's orders and trades into one kind of row.

Three files carry them: orders (``OrderType``, ``OrderPrice``, …), trades (``TradeType``, ``TradePrice``, …), and both
in one (``SourceType``, ``Type``, ``Price``, …, prices as integers × 10,000).

Meaning of the fields, after the DolphinDB documentation of ``createOrderBookSnapshotEngine``
(https://docs.dolphindb.cn/zh/funcs/c/createorderbooksnapshotengine.html), whose input the merged file is, and the
description of the exchanges' own messages in https://github.com/fpga2u/AXOrderBook (``doc/msgTypes.md``: Shanghai
UA5801 and UA3201, Shenzhen 300192 and 300191):

- type of an order: 1 market, 2 limit, 3 or ``U`` best price of its own side; ``A`` new, ``D`` or 10 deleted (Shanghai
  only); 11 or ``S`` tells of the market's phase (Shanghai only);
- type of a trade: 0 or ``F`` executed; 1, 4, ``C`` or ``D`` cancelled (Shenzhen only), which names the order on its
  side and 0 on the other;
- side: 1 or ``B`` buys, 2 or ``S`` sells, 0 or ``N`` unknown: at Shanghai the auctions;
- an order's number: ``OrderNO`` at Shanghai, which its trades name; at Shenzhen its ``ApplSeqNum``.

Invariant: each line is a row, or is told with what is wrong with it; prices that have no meaning (a market order's, a
Shenzhen cancel's) are null.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.feeds.faults import Faults
from tickvault.market.feeds.stamps import dates, digit_clocks, stamps
from tickvault.market.feeds.text import Fields, clock_times, decimals, integers
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, SIZE_NULL, TIME_NULL

#: China has one zone, and no daylight saving since 1992; Level-2 data is younger.
AHEAD_OF_UTC_NS = 8 * 3600 * 1_000_000_000
DAY_NS = 86_400 * 1_000_000_000
#: Turnover is kept in units of 0.0001, as prices × sizes come.
TURNOVER_DIGITS = 4
TURNOVER_SCALE = 10**TURNOVER_DIGITS

#: What a row is.
ORDER, DELETED, TRADED, CANCELLED = 0, 1, 2, 3
_UNKNOWN = 255
#: How an order is priced.
LIMIT, MARKET, OWN_BEST = 0, 1, 2

ROW = np.dtype(
    [
        ("number", "<i8"),  # of the line in the source
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("buy", "<i8"),  # the order that buys, 0 if none; of an order, itself on either side
        ("sell", "<i8"),
        ("sequence", "<i8"),
        ("trade_id", "<i8"),  # -1 where the file does not say
        ("turnover", "<i8"),
        ("day", "<i4"),
        ("channel", "<i4"),
        ("kind", "|u1"),
        ("side", "|u1"),  # 0 unknown, 1 buy, 2 sell
        ("pricing", "|u1"),
    ],
    align=True,
)


def _table(words: dict[str, int]) -> Array:
    """Return what texts of up to two letters mean, by their `tags`."""
    table = np.full(65_536, _UNKNOWN, np.uint8)
    for word, meaning in words.items():
        letters = word.encode()
        table[int.from_bytes(letters, "big")] = meaning
    return table


_SIDES = _table({"1": 1, "B": 1, "2": 2, "S": 2, "0": 0, "N": 0, "": 0, " ": 0})
_ORDER_KINDS = _table({"1": ORDER, "2": ORDER, "3": ORDER, "U": ORDER, "A": ORDER, "10": DELETED, "D": DELETED})
_PRICINGS = _table({"1": MARKET, "2": LIMIT, "3": OWN_BEST, "U": OWN_BEST, "A": LIMIT, "10": LIMIT, "D": LIMIT})
_TRADE_KINDS = _table({"0": TRADED, "F": TRADED, "1": CANCELLED, "4": CANCELLED, "C": CANCELLED, "D": CANCELLED})
_SOURCES = _table({"0": 0, "1": 1})


def _tags(fields: Fields, column: int) -> Array:
    """Return the letters of a short field as one number; of a long one, a number that no table knows."""
    starts, ends = fields.starts[:, column], fields.ends[:, column]
    size = ends - starts
    last = len(fields.data) - 1
    first_letter = fields.data[np.minimum(starts, last)].astype(np.int64)
    second_letter = fields.data[np.minimum(starts + 1, last)].astype(np.int64)
    out = np.where(size == 1, first_letter, np.where(size == 2, first_letter << 8 | second_letter, 0))
    return np.where(size > 2, 65_535, out)


class Layout(NamedTuple):
    """Which column of a file is what; -1 where the file has none."""

    kind: str
    """``orders``, ``trades`` or ``merged``."""
    field_count: int
    date: int
    clock: int
    security: int
    security_source: int
    received: int
    source_type: int
    type: int
    price: int
    size: int
    side: int
    buy: int
    sell: int
    sequence: int
    channel: int
    trade_id: int
    turnover: int


_NAMES = {
    "orders": ("", "OrderType", "OrderPrice", "OrderQty", "OrderBSFlag", "OrderNO", "OrderNO", "", ""),
    "trades": (
        *("", "TradeType", "TradePrice", "TradeQty", "TradeBSFlag", "TradeBuyNo", "TradeSellNo"),
        *("TradeIndex", "TradeMoney"),
    ),
    "merged": ("SourceType", "Type", "Price", "Qty", "BSFlag", "BuyNo", "SellNo", "", ""),
}
_NEEDED = {"orders": (1, 2, 3, 4), "trades": (1, 2, 3, 4, 5, 6), "merged": (0, 1, 2, 3, 4, 5, 6)}


def place_of(names: list[str], *wanted: str) -> int:
    """Return the place of the first of several names that a header has, or -1."""
    return next((names.index(name) for name in wanted if name and name in names), -1)


def layout_of(names: list[str]) -> Layout | None:
    """Return which columns a header of orders or trades has, None if it is of neither."""
    clock, security = place_of(names, "MDTime", "Time"), place_of(names, "SecurityID", "HTSCSecurityID")
    sequence, channel = place_of(names, "ApplSeqNum"), place_of(names, "ChannelNo")
    for kind, columns in _NAMES.items():
        if min(clock, security, sequence, channel) < 0 or any(columns[at] not in names for at in _NEEDED[kind]):
            continue
        source, type_, price, size, side, buy, sell, trade_id, turnover = (place_of(names, name) for name in columns)
        return Layout(
            kind,
            len(names),
            place_of(names, "MDDate", "Date"),
            clock,
            security,
            place_of(names, "SecurityIDSource"),
            place_of(names, "ReceiveDateTime", "ReceiveTime"),
            source,
            type_,
            price,
            size,
            side,
            buy,
            sell,
            sequence,
            channel,
            trade_id,
            turnover,
        )
    return None


def times_of(fields: Fields, date: int, clock: int, day: int | None, faults: Faults) -> tuple[Array, Array]:
    """Return (days since 1970, UTC ns) of a date's and a clock's column; `day` where the file has no date."""
    if day is None:
        days, good = dates(fields, date)
        faults.unless(good, "its date cannot be read")
    else:
        days = np.full(len(fields.starts), day, np.int64)
    since, good = clock_times(fields, clock)
    if not good.all():
        digits, digits_good = digit_clocks(fields, clock)
        since, good = np.where(good, since, digits), good | digits_good
    faults.unless(good, "its time cannot be read")
    return days, np.where(faults.good, days * DAY_NS + since - AHEAD_OF_UTC_NS, TIME_NULL)


def _whole(fields: Fields, column: int, what: str, faults: Faults, limit: int = 2**62) -> Array:
    values, good = integers(fields, column, -1, empty_is_null=False)
    faults.unless(good & (values >= 0) & (values < limit), f"its {what} is no whole number from 0 to {limit - 1}")
    return values


def parse(
    fields: Fields, layout: Layout, first: int, day: int | None, scale: int, shenzhen: Array
) -> tuple[Array, Faults]:
    """Return a block's rows (of `ROW`) and what is wrong with which of them.

    Parameters
    ----------
    first : int
        Number of the block's first line in the source.
    day : int, optional
        Days since 1970 of all lines, where the file has no date.
    scale : int
        Units of the merged file's prices in one.
    shenzhen : ndarray of bool
        The row is of Shenzhen.
    """
    count = len(fields.starts)
    rows = np.zeros(count, ROW)
    faults = Faults(fields.sound, f"it has not the {layout.field_count} fields of the header")
    rows["number"] = np.arange(first, first + count)
    rows["day"], rows["ts_event"] = times_of(fields, layout.date, layout.clock, day, faults)
    rows["ts_recv"] = TIME_NULL
    if layout.received >= 0:
        received, told, good = stamps(fields, layout.received)
        faults.unless(good, "its time of receipt cannot be read")
        rows["ts_recv"] = np.where(told | (received == TIME_NULL), received, received - AHEAD_OF_UTC_NS)
    _kinds(fields, layout, rows, faults)
    rows["side"] = _SIDES[_tags(fields, layout.side)]
    faults.unless(rows["side"] != _UNKNOWN, "its side is none of 0, 1, 2, N, B and S")
    rows["size"] = _whole(fields, layout.size, "size", faults)
    rows["sequence"] = _whole(fields, layout.sequence, "ApplSeqNum", faults)
    rows["channel"] = _whole(fields, layout.channel, "ChannelNo", faults, 65_535)
    _orders_named(fields, layout, rows, shenzhen, faults)
    _prices(fields, layout, rows, scale, shenzhen, faults)
    rows["trade_id"] = _whole(fields, layout.trade_id, "TradeIndex", faults) if layout.trade_id >= 0 else -1
    rows["turnover"] = SIZE_NULL
    if layout.turnover >= 0:
        rows["turnover"], good = decimals(fields, layout.turnover, TURNOVER_DIGITS, SIZE_NULL)
        faults.unless(good, "its turnover cannot be read")
    return rows, faults


def _kinds(fields: Fields, layout: Layout, rows: Array, faults: Faults) -> None:
    tags = _tags(fields, layout.type)
    is_trade = np.full(len(rows), layout.kind == "trades")
    if layout.source_type >= 0:
        source = _SOURCES[_tags(fields, layout.source_type)]
        faults.unless(source != _UNKNOWN, "its SourceType is neither 0, an order, nor 1, a trade")
        is_trade = source == 1
    rows["kind"] = np.where(is_trade, _TRADE_KINDS[tags], _ORDER_KINDS[tags])
    rows["pricing"] = np.where(is_trade, LIMIT, _PRICINGS[tags])
    faults.unless(rows["kind"] != _UNKNOWN, "its type is none that is known of orders or trades")


def _orders_named(fields: Fields, layout: Layout, rows: Array, shenzhen: Array, faults: Faults) -> None:
    """Fill in which orders a row names: an order itself, on both sides; a trade the one that buys and the other."""
    is_order = rows["kind"] <= DELETED
    if layout.buy >= 0:
        rows["buy"] = _whole(fields, layout.buy, "number of the order that buys", faults)
        rows["sell"] = _whole(fields, layout.sell, "number of the order that sells", faults)
    elif not shenzhen.all():
        faults.unless(shenzhen, "the file has no OrderNO, which Shanghai's orders are known by")
    own = np.where(shenzhen, rows["sequence"], np.where(rows["side"] == 2, rows["sell"], rows["buy"]))
    for name in ("buy", "sell"):
        rows[name] = np.where(is_order, own, rows[name])
    cancelled = rows["kind"] == CANCELLED
    # A cancel's side is that of the one order it names.
    rows["side"] = np.where(cancelled, np.where(rows["buy"] > 0, 1, 2), rows["side"])
    faults.unless(~cancelled | ((rows["buy"] > 0) != (rows["sell"] > 0)), "it is a cancel and names not one order")
    faults.unless(~is_order | (rows["side"] > 0), "it is an order and has no side")


def _prices(fields: Fields, layout: Layout, rows: Array, scale: int, shenzhen: Array, faults: Faults) -> None:
    if layout.kind == "merged":
        units, good = integers(fields, layout.price, PRICE_NULL, empty_is_null=False)
        unit = PRICE_SCALE // scale
        good &= np.abs(units) < (PRICE_NULL // unit)
        prices = np.where(good, units, 0) * unit
    else:
        prices, good = decimals(fields, layout.price, 9, PRICE_NULL, empty_is_null=False)
    # Not limited, and Shenzhen's cancels: the field has no meaning and holds what it likes.
    meaningless = (rows["pricing"] != LIMIT) | ((rows["kind"] == CANCELLED) & shenzhen)
    faults.unless(good | meaningless, "its price cannot be read")
    rows["price"] = np.where(meaningless, PRICE_NULL, prices)


def scale_checked(path: str, scale: int | None) -> int:
    """Return the units in one of the merged file's prices, 10,000 unless the caller says otherwise."""
    found = 10_000 if scale is None else scale
    if found < 1 or PRICE_SCALE % found:
        raise InvalidInputError(f"ingest {path}: scale={found}: a scale divides {PRICE_SCALE}, as 10000 does")
    return found
