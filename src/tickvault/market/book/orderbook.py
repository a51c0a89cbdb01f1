"""The order book: rows in, levels and queues out.

What the rows of `mbo` do is Databento's rule: only A, C, M and R change the book.

- A puts an order behind all others of its price.
- C takes an amount off an order, and the order away when nothing is left.
- M gives it another price or size; it goes to the end of the queue when its price changes or its size grows. An order
  that is not in the book is added.
- R takes everything out. T, F and N change nothing.
- With F_TOB a row is the best level of its side and no order: the side becomes that level, or empty if its price is
  null.
- A snapshot (F_SNAPSHOT) is the whole book. If it begins without R, as Databento's of 2023 do, the book is cleared at
  its first row; another time of its rows (`ts_recv`) is another snapshot.

Rows of `mbp-delta` say what stands at a price now. Each row of `mbp-10`, `mbp-1` and `bbo` states the whole of what it
shows, so that the book is that of the last row applied.

Invariants: applying a table in parts gives the book of the whole; memory is bounded by what is live at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.book import kernels
from tickvault.market.book.depth import Best, Depth, empty_stacks, levels_of
from tickvault.market.book.faults import Fault, Faults, told
from tickvault.market.book.kernels import Changes, Orders, Stacks
from tickvault.market.book.memory import copied, empty_arrays, faults_of, grown, rescale
from tickvault.market.book.rows import changes_of, check, orders_of, statement_of
from tickvault.market.columns import Array
from tickvault.market.schema import ASK, BID, F_LAST, PRICE_NULL, SIZE_NULL
from tickvault.market.table import Table

_SIDES = {"B": 0, "bid": 0, BID: 0, "A": 1, "ask": 1, ASK: 1}
_LEVELS = "levels"


class QueuedOrder(NamedTuple):
    """An order in the queue of its price."""

    order_id: int
    size: int
    """What is left, in units of 1 / `size_scale`."""


class Position(NamedTuple):
    """Where an order stands."""

    side: str
    """``"B"`` or ``"A"``."""
    price: int
    size: int
    orders_ahead: int
    size_ahead: int
    """Of the orders before it at its price; what trades there first."""


class OrderBook:
    """A book that rows are applied to.

    One table or many of one series may be applied, one after the other; the book goes on where it was. It is not to be
    used by several threads at once.

    Parameters
    ----------
    strict : bool
        Raise at the first row that does not fit, instead of counting it in `faults`.

    Examples
    --------
    >>> book = OrderBook()
    >>> book.apply(ticks.read("ESH4", "mbo"))    # doctest: +SKIP
    >>> book.depth(5)                            # doctest: +SKIP
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._kind = ""
        self.symbol = ""
        self.size_scale = 1
        self._arrays = empty_arrays(strict=strict)

    # -- in

    def apply(self, table: Table) -> OrderBook:
        """Apply the rows of a table, and return the book.

        Parameters
        ----------
        table : Table
            Of one series of `mbo`, `mbp-delta`, `mbp-10`, `mbp-1` or `bbo`.

        Raises
        ------
        InvalidInputError
            The rows tell no book, or are of several; orders are applied to a book of levels, or the other way round;
            or the book is strict, and a row does not fit: it is the last one applied.
        """
        self._begin(table)
        if not len(table):
            return self
        name = table.schema.name
        if name == "mbo":
            self._replay(kernels.replay_orders, orders_of(table, self.size_scale), len(table))
        elif name == "mbp-delta":
            self._replay(kernels.replay_changes, changes_of(table, self.size_scale), len(table))
        else:
            rows = statement_of(table, self.size_scale)
            before = self.rows
            self._replay(kernels.replay_changes, rows, len(rows.ts))
            self._arrays.state[kernels.ROWS] = before + len(table)
        return self

    def _begin(self, table: Table) -> None:
        """Check that a table continues the book, and bring both to one scale of sizes."""
        check(table, f"apply {table.symbol}".strip())
        kind = table.schema.name if table.schema.name == "mbo" else _LEVELS
        if self._kind not in {"", kind}:
            raise InvalidInputError(
                f"apply {table.symbol}: the book holds {'orders' if self._kind == 'mbo' else 'levels'}, and rows of "
                f"{table.schema.name} are not applied to those; clear it first, or take another book"
            )
        if self.symbol and table.symbol and self.symbol != table.symbol:
            raise InvalidInputError(
                f"apply {table.symbol}: the book is of {self.symbol}; clear it first, or take another book"
            )
        if table.size_scale > self.size_scale:
            # All scales are powers of ten.
            rescale(self._arrays, table.size_scale // self.size_scale)
            self.size_scale = table.size_scale
        self._kind, self.symbol = kind, self.symbol or table.symbol

    def _replay(self, kernel: Callable[..., int], rows: Orders | Changes, end: int) -> None:
        at = kernel(rows, 0, end, self._arrays)
        while at < end or self._arrays.state[kernels.STOPPED]:
            self._make_room()
            at = kernel(rows, at, end, self._arrays)

    def _stack(self, table: Table, stops: Array, depth: int) -> Stacks:
        """Apply the rows of a table of orders or changes, and return the best levels after so many rows each.

        Parameters
        ----------
        stops : ndarray of int64
            Never falling. Rows after the last one are not applied.
        """
        self._begin(table)
        stacks = empty_stacks(depth, len(stops))
        rows: Orders | Changes
        if self._kind == "mbo":
            kernel, rows = kernels.stack_orders, orders_of(table, self.size_scale)
        else:
            kernel, rows = kernels.stack_changes, changes_of(table, self.size_scale)
        at, done = kernel(rows, 0, stops, 0, self._arrays, stacks)
        while done < len(stops):
            self._make_room()
            at, done = kernel(rows, at, stops, done, self._arrays, stacks)
        return stacks

    def _make_room(self) -> None:
        """Enlarge what is full, or raise what a strict book stopped for."""
        state = self._arrays.state
        stopped = int(state[kernels.STOPPED])
        if stopped:
            state[kernels.STOPPED] = 0
            fault = Fault(stopped - 1)
            example = self.faults.examples(fault.label)[-1]
            raise InvalidInputError(
                f"apply {self.symbol}: {fault.about.partition(';')[0]}: {told(fault, example)}; a book that is not "
                "strict counts it in its faults and goes on"
            )
        self._arrays = grown(self._arrays)

    def clear(self) -> None:
        """Begin anew: no orders, no levels, no faults; any series may be applied then."""
        self._kind, self.symbol, self.size_scale = "", "", 1
        self._arrays = empty_arrays(strict=self._strict)

    def copy(self) -> OrderBook:
        """Return a book of its own that is the same now."""
        made = OrderBook(strict=self._strict)
        made._kind, made.symbol, made.size_scale = self._kind, self.symbol, self.size_scale
        made._arrays = copied(self._arrays)
        return made

    # -- out

    def depth(self, levels: int = 10) -> Depth:
        """Return the best levels of both sides.

        Raises
        ------
        InvalidInputError
            `levels` is no number from 1.
        """
        return self._depth(levels, is_whole=self.is_whole)

    def _depth(self, levels: int, *, is_whole: bool) -> Depth:
        if isinstance(levels, bool) or not isinstance(levels, int | np.integer) or levels < 1:
            raise InvalidInputError(f"depth: levels must be a number from 1, was {levels!r}")
        wanted = max(1, min(int(levels), max(self.level_counts)))
        stacks = empty_stacks(wanted, 1)
        kernels.write_stack(self._arrays, stacks, 0)
        bids, asks = levels_of(stacks, 0, 0), levels_of(stacks, 1, 0)
        return Depth(bids, asks, self.ts, is_whole=is_whole, size_scale=self.size_scale, symbol=self.symbol)

    def best(self) -> Best:
        """Return (bid_px, bid_sz, ask_px, ask_sz); null where a side is empty."""
        arrays, found = self._arrays, []
        for side in range(2):
            slot = kernels.best_level(arrays, side)
            level = None if slot < 0 else arrays.slots[slot]
            found += [PRICE_NULL, SIZE_NULL] if level is None else [int(level[kernels.PRICE]), int(level[kernels.SIZE])]
        return Best(*found)

    def orders(self, side: str | int, price: int) -> list[QueuedOrder]:
        """Return the orders at a price, the first in the queue first; none where there are none.

        Parameters
        ----------
        side : {"B", "A"}
        price : int
            Units of 1e-9, as in `depth`.
        """
        number = _SIDES.get(side)
        if number is None:
            raise InvalidInputError(f"orders: side must be 'B' (bid) or 'A' (ask), was {side!r}")
        slot = kernels.find_level(self._arrays, number, _whole(price, "orders: price", np.int64))
        count = 0 if slot < 0 else max(int(self._arrays.slots[slot, kernels.COUNT]), 0)
        if not count or self._kind != "mbo":
            return []
        ids, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        kernels.write_queue(self._arrays, slot, ids, sizes)
        return [QueuedOrder(*pair) for pair in zip(ids.view(np.uint64).tolist(), sizes.tolist(), strict=True)]

    def position(self, order_id: int) -> Position:
        """Return where an order stands in the queue of its price.

        Raises
        ------
        NotFoundError
            It is not in the book.
        """
        key = np.array([_whole(order_id, "position: order_id", np.uint64)], np.uint64).view(np.int64)[0]
        slot = kernels.find_order(self._arrays, key)
        if slot < 0:
            raise NotFoundError(
                f"position: order {order_id} is not in the book{f' of {self.symbol}' * bool(self.symbol)}"
            )
        order = self._arrays.slots[slot]
        level = self._arrays.slots[order[kernels.LEVEL]]
        count, size = kernels.ahead_of(self._arrays, slot)
        side = "A" if level[kernels.SIDE] else "B"
        return Position(side, int(level[kernels.PRICE]), int(order[kernels.SIZE]), int(count), int(size))

    # -- what it is

    @property
    def faults(self) -> Faults:
        """What did not fit so far."""
        return faults_of(self._arrays)

    @property
    def rows(self) -> int:
        """Rows applied."""
        return int(self._arrays.state[kernels.ROWS])

    @property
    def events(self) -> int:
        """Rows with F_LAST among them."""
        return int(self._arrays.state[kernels.EVENTS])

    @property
    def ts(self) -> int:
        """`ts_index` of the last row applied, int64 ns UTC; null before the first."""
        return int(self._arrays.state[kernels.TS])

    @property
    def is_whole(self) -> bool:
        """Whether the last row applied ended its event; in the middle of one a book may be crossed."""
        return self.rows == 0 or bool(self._arrays.state[kernels.FLAGS] & F_LAST)

    @property
    def order_count(self) -> int:
        """Orders in the book."""
        return int(self._arrays.state[kernels.ORDERS])

    @property
    def level_counts(self) -> tuple[int, int]:
        """Levels of (bids, asks)."""
        state = self._arrays.state
        return int(state[kernels.BID_LEVELS]), int(state[kernels.ASK_LEVELS])

    def __repr__(self) -> str:
        """Show the best levels."""
        bids, asks = self.level_counts
        name = f" {self.symbol}" if self.symbol else ""
        return (
            f"<OrderBook{name}: {self.rows:,} rows, {self.order_count:,} orders, {bids:,} bid and {asks:,} ask levels, "
            f"{sum(self.faults.values()):,} faults>\n{self.depth(5)!r}"
        )


def _whole(value: Any, name: str, dtype: type[np.integer[Any]]) -> int:
    limits = np.iinfo(dtype)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not limits.min <= value <= limits.max:
        raise InvalidInputError(f"{name} must be an {limits.dtype} (prices in units of 1e-9), was {value!r}")
    return int(value)
