"""The schemas: which columns a kind of market data has, their types, units and nulls.

Names and meanings follow Databento's (https://databento.com/docs/schemas-and-data-formats), so that whoever knows those
knows these; what differs is said at the column.  A feed fills the columns that its source has; a column that is absent
is null throughout.

Invariants: every value is an integer in memory and on disk; times are int64 nanoseconds UTC, prices int64 in units of
1e-9, sizes int64 in units of the series' `size_scale`; each kind of column has one null, which is no value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError

#: Stored prices are multiples of this.
PRICE_UNIT = 1e-9
PRICE_SCALE = 1_000_000_000

TIME_NULL = np.iinfo(np.int64).min
PRICE_NULL = np.iinfo(np.int64).max
SIZE_NULL = np.iinfo(np.int64).max
CODE_NULL = -1
CHAR_NULL = 0

# Bits of `flags`, Databento's.
F_LAST = 1 << 7
"""Last record of an event: the book is whole."""
F_TOB = 1 << 6
"""The record is a top of book, not an order."""
F_SNAPSHOT = 1 << 5
"""From a snapshot or a replay, not live."""
F_MBP = 1 << 4
"""An aggregated level, not an order."""
F_BAD_TS_RECV = 1 << 3
"""`ts_recv` cannot be relied on."""
F_MAYBE_BAD_BOOK = 1 << 2
"""A gap was seen; the book may be wrong until the next snapshot."""

# Bytes of `action`.
ADD, CANCEL, MODIFY, CLEAR, TRADE, FILL, NONE = (ord(letter) for letter in "ACMRTFN")
# Bytes of `side`: of the book for orders and levels, of the aggressor for trades.
ASK, BID, NO_SIDE = (ord(letter) for letter in "ABN")


class Kind(StrEnum):
    """What the numbers of a column are."""

    TIME = "time"
    """int64 nanoseconds since the epoch, UTC."""
    PRICE = "price"
    """int64 in units of 1e-9."""
    SIZE = "size"
    """int64 in units of 1 / `size_scale`."""
    TURNOVER = "turnover"
    """int64 in units of 1 / `turnover_scale`, of the instrument's currency."""
    CODE = "code"
    """int32 into a dictionary of strings."""
    CHAR = "char"
    """uint8, an ASCII letter."""
    FLAGS = "flags"
    """Unsigned bits; never null."""
    ID = "id"
    """Unsigned number given by the venue or the source."""
    INT = "int"
    """Any other integer."""


_DTYPES = {
    Kind.TIME: "<i8",
    Kind.PRICE: "<i8",
    Kind.SIZE: "<i8",
    Kind.TURNOVER: "<i8",
    Kind.CODE: "<i4",
    Kind.CHAR: "|u1",
    Kind.FLAGS: "|u1",
    Kind.ID: "<u8",
    Kind.INT: "<i8",
}
_NULLS = {
    Kind.TIME: TIME_NULL,
    Kind.PRICE: PRICE_NULL,
    Kind.SIZE: SIZE_NULL,
    Kind.TURNOVER: SIZE_NULL,
    Kind.CODE: CODE_NULL,
    Kind.CHAR: CHAR_NULL,
    Kind.FLAGS: 0,
}


class Column(NamedTuple):
    """One column of a schema."""

    name: str
    kind: Kind
    about: str = ""
    width: str = ""
    """dtype where it is not the kind's own, e.g. ``"<u4"``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in memory and on disk, little-endian."""
        return np.dtype(self.width or _DTYPES[self.kind])

    @property
    def null(self) -> int:
        """The number that stands for no value: of ids and plain integers, the largest of the type."""
        found = _NULLS.get(self.kind)
        return int(np.iinfo(self.dtype).max) if found is None else int(found)


class Schema(NamedTuple):
    """A kind of market data."""

    name: str
    columns: tuple[Column, ...]
    interval_ns: int = 0
    """Of bars; else 0."""

    def column(self, name: str) -> Column | None:
        """Return a column, None if the schema has none of the name."""
        known = _BY_NAME.get(self.name)
        if known is None:
            known = _BY_NAME[self.name] = {column.name: column for column in self.columns}
        return known.get(name)


_TIMES = (
    Column("ts_event", Kind.TIME, "when it happened, by the venue's clock; null where the source does not say"),
    Column("ts_recv", Kind.TIME, "when it was captured; null where the source does not say"),
)
_WHOSE = (
    Column("instrument_id", Kind.ID, "the publisher's number of the instrument", "<u4"),
    Column("publisher_id", Kind.ID, "the publisher's number of itself", "<u2"),
    Column("sequence", Kind.ID, "the venue's number of the message; may repeat, legitimately"),
)
_PRINTED = (
    Column("exchange", Kind.CODE, "the exchange or participant that the row is from, where a venue carries several"),
    Column("conditions", Kind.CODE, "sale or quote conditions, as the source writes them"),
)
_DELTA = Column("ts_in_delta", Kind.INT, "ts_recv less the time the venue sent it, nanoseconds", "<i4")
_PRICE = Column("price", Kind.PRICE, "of the order, level or trade")
_SIZE = Column("size", Kind.SIZE, "of the order, level or trade")
_ACTION = Column("action", Kind.CHAR, "A add, C cancel, M modify, R clear, T trade, F fill, N none")
_SIDE = Column("side", Kind.CHAR, "A ask, B bid, N none; of a trade, the aggressor's")
_FLAGS = Column("flags", Kind.FLAGS, "bits: 128 last of its event, 32 snapshot, 8 bad ts_recv, 4 book may be wrong")
_CHANNEL = Column("channel_id", Kind.ID, "the venue's channel", "<u2")


def _levels(count: int) -> tuple[Column, ...]:
    columns = []
    for level in range(count):
        for side in ("bid", "ask"):
            columns += [
                Column(f"{side}_px_{level:02d}", Kind.PRICE, "null where the side is absent"),
                Column(f"{side}_sz_{level:02d}", Kind.SIZE, "null where the side is absent"),
                Column(f"{side}_ct_{level:02d}", Kind.ID, "orders at the level", "<u4"),
            ]
    return tuple(columns)


_MBP = (*_TIMES, _ACTION, _SIDE, Column("depth", Kind.INT, "level that changed", "|u1"), _PRICE, _SIZE, _FLAGS, _DELTA)
_BAR = (
    Column("ts_event", Kind.TIME, "begin of the interval"),
    Column("ts_recv", Kind.TIME, "end of the interval, when the bar is known"),
)
_OHLCV = (
    *_BAR,
    *(Column(name, Kind.PRICE) for name in ("open", "high", "low", "close")),
    Column("volume", Kind.SIZE),
    Column("turnover", Kind.TURNOVER),
    Column("trade_count", Kind.ID),
    Column("instrument_id", Kind.ID, "the publisher's number of the instrument", "<u4"),
)
_SECOND = 1_000_000_000
_TEXT = (
    "raw_symbol",
    "security_type",
    "asset",
    "exchange",
    "currency",
    "underlying",
    "group",
    "cfi",
    "unit_of_measure",
)

_ALL = (
    Schema(
        "mbo",
        (
            *_TIMES,
            Column("order_id", Kind.ID, "the venue's number of the order"),
            _PRICE,
            _SIZE,
            _FLAGS,
            _CHANNEL,
            _ACTION,
            _SIDE,
            _DELTA,
            *_WHOSE,
        ),
    ),
    Schema("mbp-1", (*_MBP, *_WHOSE, *_levels(1))),
    Schema("mbp-10", (*_MBP, *_WHOSE, *_levels(10))),
    Schema(
        "mbp-delta",
        (
            *_TIMES,
            _SIDE,
            _PRICE,
            Column("size", Kind.SIZE, "what stands at the price now; 0 removes the level"),
            _FLAGS,
            Column("first_update_id", Kind.ID, "of the message that the change came in"),
            Column("last_update_id", Kind.ID, "of the message that the change came in"),
            Column("previous_update_id", Kind.ID, "last one of the message before, where the venue says it"),
        ),
    ),
    Schema(
        "trades",
        (
            *_TIMES,
            _PRICE,
            _SIZE,
            _ACTION,
            _SIDE,
            _FLAGS,
            Column("depth", Kind.INT, "level that was traded at", "|u1"),
            _DELTA,
            *_WHOSE,
            *_PRINTED,
            _CHANNEL,
            Column("trade_id", Kind.ID, "the venue's number of the trade"),
            Column("buy_order_id", Kind.ID, "order that bought"),
            Column("sell_order_id", Kind.ID, "order that sold"),
            Column("turnover", Kind.TURNOVER),
        ),
    ),
    Schema("bbo", (*_TIMES, _SIDE, _PRICE, _SIZE, _FLAGS, *_WHOSE, *_PRINTED, *_levels(1))),
    Schema("ohlcv-1s", _OHLCV, _SECOND),
    Schema("ohlcv-1m", _OHLCV, 60 * _SECOND),
    Schema("ohlcv-1d", _OHLCV, 86_400 * _SECOND),
    Schema(
        "ohlcq-1m",
        (
            *_BAR,
            *(
                Column(f"{side}_{name}", Kind.PRICE, "null where the side was absent")
                for side in ("bid", "ask")
                for name in ("open", "high", "low", "close")
            ),
            Column("bid_size", Kind.SIZE, "at the end of the interval"),
            Column("ask_size", Kind.SIZE, "at the end of the interval"),
        ),
        60 * _SECOND,
    ),
    Schema(
        "definition",
        (
            *_TIMES,
            *(Column(name, Kind.CODE) for name in _TEXT),
            Column("instrument_class", Kind.CHAR, "Databento's: F future, C call, P put, K stock, S spread, …"),
            Column("security_update_action", Kind.CHAR, "A add, M modify, D delete"),
            *(Column(name, Kind.TIME) for name in ("activation", "expiration")),
            *(
                Column(name, Kind.PRICE)
                for name in (
                    "min_price_increment",
                    "display_factor",
                    "high_limit_price",
                    "low_limit_price",
                    "strike_price",
                    "unit_of_measure_qty",
                )
            ),
            Column("contract_multiplier", Kind.INT, width="<i4"),
            Column("min_lot_size", Kind.INT, width="<i4"),
            Column("underlying_id", Kind.ID, width="<u4"),
            Column("maturity_year", Kind.ID, width="<u2"),
            Column("maturity_month", Kind.ID, width="|u1"),
            _CHANNEL,
            *_WHOSE[:2],
        ),
    ),
    Schema(
        "status",
        (
            *_TIMES,
            Column("status_action", Kind.ID, "Databento's number of what was announced", "<u2"),
            Column("reason", Kind.ID, "Databento's number of why", "<u2"),
            Column("trading_event", Kind.ID, "Databento's number of what it does to trading", "<u2"),
            *(Column(f"is_{name}", Kind.CHAR, "Y, N or ~") for name in ("trading", "quoting", "short_sell_restricted")),
            *_WHOSE,
        ),
    ),
    Schema(
        "statistics",
        (
            *_TIMES,
            Column("ts_ref", Kind.TIME, "what the value refers to"),
            _PRICE,
            Column("quantity", Kind.SIZE),
            Column(
                "stat_type",
                Kind.ID,
                "Databento's: 1 open, 3 settlement, 4 low, 5 high, 6 volume, 9 open interest",
                "<u2",
            ),
            Column("update_action", Kind.ID, "1 new, 2 delete", "|u1"),
            Column("stat_flags", Kind.FLAGS),
            _CHANNEL,
            _DELTA,
            *_WHOSE,
        ),
    ),
)
#: The schemas by name.
SCHEMAS: Mapping[str, Schema] = MappingProxyType({schema.name: schema for schema in _ALL})
_BY_NAME = {schema.name: {column.name: column for column in schema.columns} for schema in _ALL}


_BARS = re.compile("(ohlcv|ohlcq)-([1-9][0-9]{0,5})([smhd])")
_UNITS_NS = {"s": _SECOND, "m": 60 * _SECOND, "h": 3_600 * _SECOND, "d": 86_400 * _SECOND}


@lru_cache(maxsize=256)
def known_schema(name: str) -> Schema | None:
    """Return the schema of a name, bars of any interval among them (``ohlcv-5m``); None if there is none."""
    found = SCHEMAS.get(name)
    told = _BARS.fullmatch(name) if found is None else None
    if told is None:
        return found
    kind, count, unit = told.groups()
    return Schema(name, SCHEMAS[f"{kind}-1m"].columns, int(count) * _UNITS_NS[unit])


def schema_of(name: str) -> Schema:
    """Return the schema of a name.

    Raises
    ------
    InvalidInputError
        There is none; the message lists those that are.
    """
    found = known_schema(name)
    if found is None:
        raise InvalidInputError(
            f"there is no schema {name!r}; the schemas are {', '.join(SCHEMAS)}, and "
            "bars of other intervals, as ohlcv-5m"
        )
    return found
