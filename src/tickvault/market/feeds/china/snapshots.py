"""Snapshots of ten levels, of Shanghai and Shenzhen, into `mbp-10`.

A row is the book as it stood, not a change of it: `action` is N, `side` N, `flags` last and snapshot. What a snapshot
tells beside the levels are extension columns: `last`, `open`, `high`, `low`, `pre_close`, `change` (of the last price),
`limit_up`, `limit_down`, `volume`, `turnover` and `trade_count` of the day so far, `bid_total` and `ask_total` (what is
bid and offered at all prices) with `bid_average` and `ask_average`, and `phase`, as the source writes it.

The exchanges write 0 for what is absent: so a price of 0 is null, and with it its level's size and count where they are
0 too. In the opening auction Shenzhen gives the quantity that is not matched at level two with no price; it is kept.
"""

from __future__ import annotations

import numpy as np

from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.china.rows import TURNOVER_DIGITS, TURNOVER_SCALE, place_of, times_of
from tickvault.market.feeds.faults import Faults
from tickvault.market.feeds.stamps import stamps
from tickvault.market.feeds.text import Fields, codes, decimals, integers
from tickvault.market.schema import (
    F_LAST,
    F_SNAPSHOT,
    NO_SIDE,
    NONE,
    PRICE_NULL,
    SCHEMAS,
    SIZE_NULL,
    TIME_NULL,
    Column,
    Kind,
)

_LEVELS = 10
_COUNT_NULL = np.iinfo(np.uint32).max
#: Our column, the source's, its kind.
_EXTENSIONS = (
    (Column("last", Kind.PRICE, "price of the last trade"), "LastPx"),
    (Column("open", Kind.PRICE, "of the day"), "OpenPx"),
    (Column("high", Kind.PRICE, "of the day so far"), "HighPx"),
    (Column("low", Kind.PRICE, "of the day so far"), "LowPx"),
    (Column("pre_close", Kind.PRICE, "close of the day before"), "PreClosePx"),
    (Column("change", Kind.PRICE, "of the last price since the day before; 0 before the first trade"), "DiffPx1"),
    (Column("limit_up", Kind.PRICE, "highest price allowed"), "MaxPx"),
    (Column("limit_down", Kind.PRICE, "lowest price allowed"), "MinPx"),
    (Column("bid_average", Kind.PRICE, "of all bids, by size"), "WeightedAvgBidPx"),
    (Column("ask_average", Kind.PRICE, "of all asks, by size"), "WeightedAvgOfferPx"),
    (Column("volume", Kind.SIZE, "of the day so far"), "TotalVolumeTrade"),
    (Column("bid_total", Kind.SIZE, "of all bids"), "TotalBidQty"),
    (Column("ask_total", Kind.SIZE, "of all asks"), "TotalOfferQty"),
    (Column("turnover", Kind.TURNOVER, "of the day so far"), "TotalValueTrade"),
    (Column("trade_count", Kind.ID, "of the day so far"), "NumTrades"),
    (Column("phase", Kind.CODE, "phase of trading, as the source writes it"), "TradingPhaseCode"),
)


def is_header(names: list[str]) -> bool:
    """Return whether a header is of snapshots."""
    needed = {"BuyPrice1", "BuyOrderQty1", "SellPrice1", "SellOrderQty1", "LastPx"}
    clock, security = place_of(names, "MDTime", "Time"), place_of(names, "SecurityID", "HTSCSecurityID")
    return needed <= set(names) and min(clock, security) >= 0


def _price(fields: Fields, column: int, name: str, faults: Faults) -> Array:
    values, good = decimals(fields, column, 9, PRICE_NULL)
    faults.unless(good, f"its {name} cannot be read")
    return values


def _whole(fields: Fields, column: int, name: str, faults: Faults) -> Array:
    values, good = integers(fields, column, SIZE_NULL)
    faults.unless(good & (values >= 0), f"its {name} is no whole number")
    return values


def _level(fields: Fields, names: list[str], level: int, side: str, faults: Faults) -> dict[str, Array]:
    """Return one level of one side; empty where the source has none of the number."""
    theirs, ours = ("Buy", "bid") if side == "bid" else ("Sell", "ask")
    price_at, size_at, count_at = (
        place_of(names, f"{theirs}{what}{level + 1}") for what in ("Price", "OrderQty", "NumOrders")
    )
    if price_at < 0 or size_at < 0:
        return {}
    price = _price(fields, price_at, names[price_at], faults)
    size = _whole(fields, size_at, names[size_at], faults)
    absent = (price == 0) | (price == PRICE_NULL)
    made = {
        f"{ours}_px_{level:02d}": np.where(absent, PRICE_NULL, price),
        f"{ours}_sz_{level:02d}": np.where(absent & (size == 0), SIZE_NULL, size),
    }
    if count_at >= 0:
        count = _whole(fields, count_at, names[count_at], faults)
        faults.unless((count < _COUNT_NULL) | (count == SIZE_NULL), f"its {names[count_at]} is too large")
        none = (absent & (count == 0)) | (count == SIZE_NULL)
        made[f"{ours}_ct_{level:02d}"] = np.where(none, _COUNT_NULL, count).astype(np.uint32)
    return made


def parse(fields: Fields, names: list[str], day: int | None, faults: Faults) -> Columns:
    """Return all lines of a block; what cannot be read is told to `faults`, and its row has no meaning."""
    rows = len(fields.starts)
    _, happened = times_of(fields, place_of(names, "MDDate", "Date"), place_of(names, "MDTime", "Time"), day, faults)
    arrays: dict[str, Array] = {
        "ts_event": happened,
        "action": np.full(rows, NONE, np.uint8),
        "side": np.full(rows, NO_SIDE, np.uint8),
        "flags": np.full(rows, F_LAST | F_SNAPSHOT, np.uint8),
    }
    received_at = place_of(names, "ReceiveDateTime", "ReceiveTime")
    if received_at >= 0:
        received, told, good = stamps(fields, received_at)
        faults.unless(good, "its time of receipt cannot be read")
        ahead = 8 * 3600 * 1_000_000_000
        arrays["ts_recv"] = np.where(told | (received == TIME_NULL), received, received - ahead)
    for level in range(_LEVELS):
        for side in ("bid", "ask"):
            arrays |= _level(fields, names, level, side, faults)
    extensions, dictionaries = [], {}
    for column, theirs in _EXTENSIONS:
        at = place_of(names, theirs)
        if at < 0:
            continue
        extensions.append(column)
        if column.kind is Kind.PRICE:
            price = _price(fields, at, theirs, faults)
            arrays[column.name] = price if column.name == "change" else np.where(price == 0, PRICE_NULL, price)
        elif column.kind is Kind.TURNOVER:
            arrays[column.name], good = decimals(fields, at, TURNOVER_DIGITS, SIZE_NULL)
            faults.unless(good, f"its {theirs} cannot be read")
        elif column.kind is Kind.CODE:
            arrays[column.name], dictionaries[column.name] = codes(fields, at)
        else:
            values = _whole(fields, at, theirs, faults)
            arrays[column.name] = (
                np.where(values == SIZE_NULL, column.null, values.astype(np.uint64))
                if (column.kind is Kind.ID)
                else values
            )
    return Columns(SCHEMAS["mbp-10"], arrays, dictionaries, extensions, turnover_scale=TURNOVER_SCALE)
