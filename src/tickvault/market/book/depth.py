"""The best levels of a book at one moment.

Invariants: a `Depth` never changes; prices are in units of 1e-9, sizes in units of 1 / `size_scale`; counts are null
(the largest uint32) where the source tells levels and no orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tickvault.market.book.kernels import COUNT_NULL, Stacks
from tickvault.market.columns import Array
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, SIZE_NULL, TIME_NULL
from tickvault.market.times import text_of

if TYPE_CHECKING:
    import polars

#: Levels that `repr` shows.
_SHOWN_MAX = 10


class Best(NamedTuple):
    """The best prices, in units of 1e-9, and what stands there; null where a side is empty."""

    bid_px: int
    bid_sz: int
    ask_px: int
    ask_sz: int


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Levels of one side, best first; read-only."""

    price: Array
    """int64, units of 1e-9."""
    size: Array
    """int64, units of 1 / `size_scale`."""
    count: Array
    """uint32: orders; null where the source does not say."""

    def __len__(self) -> int:
        """Return how many levels there are."""
        return len(self.price)

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """Price, size, count."""
        return self.price, self.size, self.count


class Depth:
    """The best levels of both sides at one moment.

    Attributes
    ----------
    bids, asks : Levels
        As many as there are, best first.
    ts : int
        `ts_index` of the last row applied, int64 ns UTC; null before the first.
    is_whole : bool
        Whether that row was the last of its event; in the middle of one a book may be crossed.
    size_scale : int
        Stored units of size in one.
    symbol : str
        Empty where the rows did not say.
    """

    __slots__ = ("asks", "bids", "is_whole", "size_scale", "symbol", "ts")

    bids: Levels
    asks: Levels
    ts: int
    is_whole: bool
    size_scale: int
    symbol: str

    def __init__(
        self, bids: Levels, asks: Levels, ts: int, *, is_whole: bool = True, size_scale: int = 1, symbol: str = ""
    ) -> None:
        for array in (*bids.arrays, *asks.arrays):
            array.flags.writeable = False
        values = {"bids": bids, "asks": asks, "ts": ts, "is_whole": is_whole, "size_scale": size_scale}
        for name, value in {**values, "symbol": symbol}.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a depth is what it was."""
        raise AttributeError(f"a Depth cannot be changed: {name}")

    @property
    def best(self) -> Best:
        """The first level of each side."""
        return Best(*_first(self.bids), *_first(self.asks))

    @property
    def mid(self) -> float:
        """Half way between the best prices, as a float; NaN where a side is empty."""
        bid, _, ask, _ = self.best
        return float("nan") if PRICE_NULL in {bid, ask} else (bid + ask) / 2 / PRICE_SCALE

    @property
    def spread(self) -> float:
        """Best ask less best bid, as a float; NaN where a side is empty."""
        bid, _, ask, _ = self.best
        return float("nan") if PRICE_NULL in {bid, ask} else (ask - bid) / PRICE_SCALE

    def __eq__(self, other: object) -> bool:
        """Whether the levels are the same, and the moment."""
        if not isinstance(other, Depth):
            return NotImplemented
        mine, theirs = (*self.bids.arrays, *self.asks.arrays), (*other.bids.arrays, *other.asks.arrays)
        return (self.ts, self.size_scale) == (other.ts, other.size_scale) and all(
            np.array_equal(left, right) for left, right in zip(mine, theirs, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def to_polars(self, *, prices: Literal["float", "int"] = "float") -> polars.DataFrame:
        """Return a frame with a row for each level, from 0: bid_ct, bid_sz, bid_px, ask_px, ask_sz, ask_ct.

        Parameters
        ----------
        prices : {"float", "int"}
            Prices and sizes as floats, or as stored.
        """
        import polars as pl

        count = max(len(self.bids.price), len(self.asks.price))
        columns = [pl.Series("level", np.arange(count, dtype=np.uint32))]
        for side, levels in (("bid", self.bids), ("ask", self.asks)):
            made = [
                self._series(f"{side}_ct", levels.count, count, int(COUNT_NULL), 0),
                self._series(f"{side}_sz", levels.size, count, SIZE_NULL, self.size_scale if prices == "float" else 0),
                self._series(f"{side}_px", levels.price, count, PRICE_NULL, PRICE_SCALE if prices == "float" else 0),
            ]
            columns += made if side == "bid" else made[::-1]
        return pl.DataFrame(columns)

    def _series(self, name: str, array: Array, length: int, null: int, divisor: int) -> polars.Series:
        import polars as pl

        values = [None if value == null else value for value in array.tolist()]
        if divisor:
            values = [None if value is None else value / divisor for value in values]
        dtype = pl.Float64 if divisor else (pl.UInt32 if array.dtype == np.uint32 else pl.Int64)
        return pl.Series(name, values + [None] * (length - len(values)), dtype)

    def __repr__(self) -> str:
        """Show a ladder: asks above bids, the best ones in the middle."""
        moment = "before its first row" if self.ts == TIME_NULL else f"at {text_of(self.ts)}"
        head = f"<Depth {self.symbol + ' ' if self.symbol else ''}{moment}, {len(self.bids.price)} bids, "
        head += f"{len(self.asks.price)} asks{'' if self.is_whole else ', in the middle of an event'}>"
        bids, asks = self._cells(self.bids), self._cells(self.asks)
        rows = [("", "", *cells) for cells in reversed(asks)]
        rows += [(cells[2], cells[1], cells[0], "", "") for cells in bids]
        if not rows:
            return head
        titles = ("orders", "bid size", "price", "ask size", "orders")
        widths = [max(len(title), *(len(row[at]) for row in rows)) for at, title in enumerate(titles)]
        lines = [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (titles, *rows)
        ]
        return "\n".join([head, *lines])

    def _cells(self, levels: Levels) -> list[tuple[str, str, str]]:
        """Return texts of (price, size, orders), best first; all prices with the same number of digits."""
        digits = _digits([self.bids.price, self.asks.price], PRICE_SCALE)
        size_digits = _digits([self.bids.size, self.asks.size], self.size_scale)
        return [
            (
                f"{Decimal(price) / PRICE_SCALE:.{digits}f}",
                f"{Decimal(size) / self.size_scale:,.{size_digits}f}",
                "" if count == COUNT_NULL else str(count),
            )
            for price, size, count in zip(*(array[:_SHOWN_MAX].tolist() for array in levels.arrays), strict=True)
        ]


def _digits(arrays: Sequence[Array], scale: int) -> int:
    """Return how many decimals the first numbers need, so that all are shown with as many."""
    most = 0
    for value in np.concatenate([array[:_SHOWN_MAX] for array in arrays]).tolist():
        digits, rest = 0, value % scale
        while rest:
            digits, rest = digits + 1, rest * 10 % scale
        most = max(most, digits)
    return most


def _first(levels: Levels) -> tuple[int, int]:
    if not len(levels.price):
        return PRICE_NULL, SIZE_NULL
    return int(levels.price[0]), int(levels.size[0])


def empty_stacks(depth: int, moments: int) -> Stacks:
    """Return room for the best levels at several moments."""
    shape = (2, depth, moments)
    return Stacks(np.empty(shape, np.int64), np.empty(shape, np.int64), np.empty(shape, np.uint32))


def levels_of(stacks: Stacks, side: int, at: int) -> Levels:
    """Return the levels of one side at one moment, those that are."""
    price = stacks.price[side, :, at]
    count = int(np.count_nonzero(price != PRICE_NULL))
    return Levels(price[:count].copy(), stacks.size[side, :count, at].copy(), stacks.orders[side, :count, at].copy())
