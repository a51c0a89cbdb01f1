"""Values of rows, by row number.

Invariants: a row of -1 gives the column's null; values are of the column's type and own their memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.joins.kernels import frozen, gather
from tickvault.market.joins.spread import by_span
from tickvault.market.schema import Column

_HUGE_PAGE = 1 << 21
_LINE = 64


class Gathering(NamedTuple):
    """Columns to be filled with values of other rows, a span of rows at a time."""

    sources: list[tuple[Array, Any]]
    """The values to choose from, and what is null among them."""
    made: list[Array]

    @classmethod
    def of(cls, sources: Sequence[tuple[Array, Column]], count: int) -> Gathering:
        """Return room for so many rows of each source."""
        given = [(frozen(values, column.dtype), column.dtype.type(column.null)) for values, column in sources]
        return cls(given, _empty_columns(count, [column.dtype for _, column in sources]))

    def fill(self, rows: Array, begin: int, end: int) -> None:
        """Fill [begin, end) with the values of those of the rows."""
        for (values, null), found in zip(self.sources, self.made, strict=True):
            gather(values, rows[begin:end], null, found[begin:end])


def by_rows(sources: Sequence[tuple[Array, Column]], rows: Array) -> list[Array]:
    """Return of each source the values of rows."""
    gathering = Gathering.of(sources, len(rows))
    by_span(len(rows), len(rows) * len(sources), lambda begin, end: gathering.fill(rows, begin, end))
    return gathering.made


def _empty_columns(count: int, dtypes: Sequence[np.dtype[Any]]) -> list[Array]:
    """Return uninitialised arrays of as many rows, side by side in one block.

    A large block lies on huge pages, and a kernel hands those out several times faster than many small ones.
    """
    lengths = [-(-count * dtype.itemsize // _LINE) * _LINE for dtype in dtypes]
    large = sum(lengths) > _HUGE_PAGE
    block = np.empty(sum(lengths) + (_HUGE_PAGE if large else _LINE), np.uint8)
    at = -block.ctypes.data % (_HUGE_PAGE if large else _LINE)
    made = []
    for dtype, length in zip(dtypes, lengths, strict=True):
        made.append(block[at : at + count * dtype.itemsize].view(dtype))
        at += length
    return made
