"""The flow of a simulated day as tables: what the exchanges made, in the schemas.

Invariants: a table is of one symbol and schema and, of `mbo`, holds whole events; the tables of a series, one after the
other, do not depend on how many rows each has; memory holds a table of each schema and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_columns
from tickvault.market.schema import BID, SCHEMAS, TIME_NULL, TRADE
from tickvault.market.simulate.faults import Faults, FaultyLine
from tickvault.market.simulate.rows import (
    ACTION,
    FLAGS,
    IN_FLIGHT,
    ORDER_ID,
    PRICE,
    ROW_SIDE,
    ROW_SIZE,
    SEQUENCE,
    TOP_ASK,
    TOP_ASK_COUNT,
    TOP_ASK_SIZE,
    TOP_BID,
    TOP_BID_COUNT,
    TOP_BID_SIZE,
    TOP_ROW,
    TS_EVENT,
    TS_RECV,
)
from tickvault.market.simulate.trading_day import Batch, TradingDay
from tickvault.market.table import Table

if TYPE_CHECKING:
    from tickvault.market.simulate.market import Market

#: What a flow can be made of, in the order in which it comes.
SCHEMAS_MADE = ("definition", "status", "mbo", "trades", "bbo")
PUBLISHER_ID = 999
_ORDER_NULL = np.iinfo(np.uint64).max
_TRADE_COLUMNS = (
    "ts_event", "ts_recv", "price", "size", "action", "side", "flags", "ts_in_delta",
    "instrument_id", "publisher_id", "sequence", "channel_id",
)  # fmt: skip
_PREOPEN_NS = 60 * 1_000_000_000
# Databento's numbers of status_action.
_PRE_OPEN, _TRADING, _CLOSE = 1, 7, 12


class Flow:
    """Tables of a simulated day; iterate over it once.

    Attributes
    ----------
    rows : Counter
        By schema: rows that came so far.
    faults : Counter
        By kind: rows so far that something went wrong with, on purpose.
    """

    def __init__(self, market: Market, schemas: tuple[str, ...], rows: int, faults: Faults) -> None:
        self.market = market
        self.rows: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._schemas = [schema for schema in SCHEMAS_MADE if schema in schemas]
        self._batch_rows = rows
        self._faults = faults
        self._tables = self._all()

    def __iter__(self) -> Iterator[Table]:
        """Return itself."""
        return self

    def __next__(self) -> Table:
        """Return the next table."""
        table = next(self._tables)
        self.rows[table.schema.name] += len(table)
        return table

    def _all(self) -> Iterator[Table]:
        common = self.market.common()
        for place, share in enumerate(self.market.shares()):
            symbol = self.market.instruments[place].symbol
            for columns in self._of(place, share, common):
                yield Table.of(columns, self.market.venue, symbol)

    def _of(self, place: int, share: int, common: tuple[Array, Array]) -> Iterator[Columns]:
        if "definition" in self._schemas:
            yield definition(self.market, place)
        if "status" in self._schemas:
            yield status(self.market, place)
        wanted = [schema for schema in self._schemas if schema in {"mbo", "trades", "bbo"}]
        if not wanted:
            return
        symbol = self.market.instruments[place].symbol
        lines = {schema: FaultyLine(self._faults, self.market.seed, symbol, schema, self.faults) for schema in wanted}
        waiting: dict[str, list[Columns]] = {schema: [] for schema in wanted}
        day = TradingDay(self.market, place, share, common)
        rows = min(self._batch_rows, share)
        trades = 0
        for batch in day.batches(rows, tops="bbo" in wanted):
            mbo = mbo_of(batch, place)
            made = {"mbo": mbo}
            if "trades" in wanted:
                made["trades"] = trades_of(mbo, trades)
                trades += len(made["trades"])
            if "bbo" in wanted:
                made["bbo"] = bbo_of(mbo, batch.tops)
            for schema in wanted:
                waiting[schema].append(lines[schema].carry(made[schema]))
                if sum(map(len, waiting[schema])) >= rows:
                    yield join_columns(waiting.pop(schema))
                    waiting[schema] = []
        for schema in wanted:
            rest = waiting[schema] + lines[schema].end()
            if any(map(len, rest)):
                yield join_columns(rest)


def mbo_of(batch: Batch, place: int) -> Columns:
    """Return the rows of a batch; nothing that differs from row to row is copied, but for the time in flight."""
    wide, narrow, _ = batch
    count = wide.shape[1]
    return Columns(
        SCHEMAS["mbo"],
        {
            "ts_event": wide[TS_EVENT],
            "ts_recv": wide[TS_RECV],
            "order_id": wide[ORDER_ID].view(np.uint64),
            "price": wide[PRICE],
            "size": wide[ROW_SIZE],
            "flags": narrow[FLAGS],
            "channel_id": np.full(count, place + 1, np.uint16),
            "action": narrow[ACTION],
            "side": narrow[ROW_SIDE],
            "ts_in_delta": wide[IN_FLIGHT].astype(np.int32),
            **_whose(count, place),
            "sequence": wide[SEQUENCE].view(np.uint64),
        },
    )


def trades_of(mbo: Columns, before: int) -> Columns:
    """Return the trades among rows of `mbo`: its T rows; `before` of them came earlier in the day."""
    rows = np.flatnonzero(mbo["action"] == TRADE)
    arrays = {name: mbo[name][rows] for name in _TRADE_COLUMNS}
    buys, aggressors = arrays["side"] == BID, mbo["order_id"][rows]
    return Columns(
        SCHEMAS["trades"],
        {
            **arrays,
            "trade_id": np.arange(before + 1, before + 1 + len(rows), dtype=np.uint64),
            "buy_order_id": np.where(buys, aggressors, _ORDER_NULL),
            "sell_order_id": np.where(buys, _ORDER_NULL, aggressors),
        },
    )


def bbo_of(mbo: Columns, tops: Array) -> Columns:
    """Return the top of the book after each event that changed it."""
    rows = tops[TOP_ROW]
    names = ("ts_event", "ts_recv", "flags", "instrument_id", "publisher_id", "sequence")
    return Columns(
        SCHEMAS["bbo"],
        {
            **{name: mbo[name][rows] for name in names},
            "bid_px_00": tops[TOP_BID],
            "bid_sz_00": tops[TOP_BID_SIZE],
            "bid_ct_00": tops[TOP_BID_COUNT].astype(np.uint32),
            "ask_px_00": tops[TOP_ASK],
            "ask_sz_00": tops[TOP_ASK_SIZE],
            "ask_ct_00": tops[TOP_ASK_COUNT].astype(np.uint32),
        },
    )


def definition(market: Market, place: int) -> Columns:
    """Return what describes an instrument, as of before the open."""
    one = market.instruments[place]
    words = {
        "raw_symbol": one.symbol,
        "exchange": market.venue,
        "currency": one.currency,
        "security_type": "CS" if one.instrument_class == "K" else "FUT",
        "group": "SIMULATED",
    }
    time = np.array([market.opens_ns - _PREOPEN_NS])
    return Columns(
        SCHEMAS["definition"],
        {
            "ts_event": time,
            "ts_recv": time,
            **{name: np.zeros(1, np.int32) for name in words},
            "instrument_class": np.array([ord(one.instrument_class)], np.uint8),
            "security_update_action": np.array([ord("A")], np.uint8),
            "activation": np.array([TIME_NULL]),
            "expiration": np.array([TIME_NULL]),
            "min_price_increment": np.array([one.tick]),
            "contract_multiplier": np.array([one.multiplier], np.int32),
            "min_lot_size": np.array([one.lot], np.int32),
            "channel_id": np.array([place + 1], np.uint16),
            **_whose(1, place),
        },
        {name: [word] for name, word in words.items()},
    )


def status(market: Market, place: int) -> Columns:
    """Return the day's announcements: before the open, the open, the close."""
    times = np.array([market.opens_ns - _PREOPEN_NS, market.opens_ns, market.closes_ns])
    trading = np.frombuffer(b"NYN", np.uint8)
    return Columns(
        SCHEMAS["status"],
        {
            "ts_event": times,
            "ts_recv": times,
            "status_action": np.array([_PRE_OPEN, _TRADING, _CLOSE], np.uint16),
            "is_trading": trading,
            "is_quoting": trading,
            **_whose(3, place),
        },
    )


def _whose(count: int, place: int) -> dict[str, Array]:
    return {
        "instrument_id": np.full(count, place + 1, np.uint32),
        "publisher_id": np.full(count, PUBLISHER_ID, np.uint16),
    }
