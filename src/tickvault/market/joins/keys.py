"""Which rows of two tables belong together, as numbers of groups.

Invariants: strings are compared as strings and integers as integers, whatever codes or widths they are stored in; a
null belongs to no group (-1), and so does what the right table does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.schema import CODE_NULL, Kind
from tickvault.market.table import Table

_GROUPS = np.dtype(np.int32)
#: Groups in one numbering; what is beyond is numbered anew, so that products of several columns fit.
_COUNT_MAX = 2**31 - 2


class Groups(NamedTuple):
    """The groups of the rows of two tables."""

    left: Array
    """int32, shape (n_left,); empty where all rows are of one group."""
    right: Array
    """int32, shape (n_right,), likewise."""
    group_count: int

    @property
    def is_one(self) -> bool:
        """Whether all rows are of one group."""
        return not len(self.left) and not len(self.right)


_ONE = Groups(np.empty(0, _GROUPS), np.empty(0, _GROUPS), 1)


def groups_of(left: Table, right: Table, by: str | Sequence[str] | None, what: str) -> Groups:
    """Number the rows of two tables by the columns `by`.

    Parameters
    ----------
    by : str, sequence of str or None
        Columns that both have. ``symbol`` may be absent where a table is of one series: its symbol stands for all rows.
    what : str
        The call, for messages.

    Raises
    ------
    InvalidInputError
        A column is absent, holds strings here and numbers there, or the tables are of different symbols.
    """
    names = [by] if isinstance(by, str) else list(by or ())
    found = [pair for name in names if (pair := _pair(left, right, name, what)) is not None]
    if not found:
        return _ONE
    made = found[0]
    for more in found[1:]:
        made = _product(made, more)
    # Where all are of one group, no row needs to be asked.
    return _ONE if made.group_count == 1 and all(_is_whole(codes) for codes in (made.left, made.right)) else made


def _is_whole(codes: Array) -> bool:
    return not len(codes) or int(codes.min()) == 0


def _pair(left: Table, right: Table, name: str, what: str) -> Groups | None:
    if name == "symbol" and not (name in left and name in right):
        return _pair_of_series(left, right, what)
    for side, table in (("left", left), ("right", right)):
        if name not in table:
            raise InvalidInputError(
                f"{what}: the {side} table has no column {name!r} to join by; it has {', '.join(table.columns)}"
            )
    texts = [table.column(name).kind is Kind.CODE for table in (left, right)]
    if texts[0] != texts[1]:
        raise InvalidInputError(
            f"{what}: column {name!r} holds strings in the {'left' if texts[0] else 'right'} table and numbers in the "
            "other; join by columns of one kind"
        )
    return _by_text(left, right, name) if texts[0] else _by_value(left, right, name)


def _pair_of_series(left: Table, right: Table, what: str) -> Groups | None:
    """Return the groups by symbol where one table has no such column; None where all rows are of one symbol."""
    if "symbol" not in left and "symbol" not in right:
        if left.symbol == right.symbol or not (left.symbol and right.symbol):
            return None
        raise InvalidInputError(
            f"{what}: the left table is of {left.symbol} and the right one of {right.symbol}; join rows of different "
            "symbols with by=None"
        )
    whole, single = ("left", right) if "symbol" in left else ("right", left)
    if not single.symbol:
        raise InvalidInputError(
            f"{what}: the {whole} table has a column symbol, and the other neither that nor a symbol of its own; name "
            "it with Table.of(columns, venue, symbol), or join with by=None"
        )
    if "symbol" in left:
        words = left.strings("symbol")
        codes = _renumbered(left["symbol"], words, {single.symbol: 0})
        return Groups(codes, np.zeros(len(right), _GROUPS), 1)
    words = right.strings("symbol")
    codes = _renumbered(right["symbol"], words, {single.symbol: 0})
    return Groups(np.zeros(len(left), _GROUPS), codes, 1)


def text_codes(table: Table, name: str) -> tuple[Array, list[str]]:
    """Return (codes, strings) of a column in which each string has one code only."""
    words = table.strings(name)
    numbers: dict[str, int] = {}
    for word in words:
        numbers.setdefault(word, len(numbers))
    codes = table[name] if len(numbers) == len(words) else _renumbered(table[name], words, numbers)
    return codes, list(numbers)


def _renumbered(codes: Array, words: Sequence[str], numbers: dict[str, int]) -> Array:
    # The last place is where a null, -1, looks.
    target = np.array([*(numbers.get(word, -1) for word in words), CODE_NULL], _GROUPS)
    made: Array = target[codes]
    return made


def _by_text(left: Table, right: Table, name: str) -> Groups:
    codes, words = text_codes(right, name)
    numbers = {word: number for number, word in enumerate(words)}
    return Groups(_renumbered(left[name], left.strings(name), numbers), codes, max(len(words), 1))


def _by_value(left: Table, right: Table, name: str) -> Groups:
    signed = any(table[name].dtype.kind == "i" for table in (left, right))
    mine, theirs = (_exact(table, name, signed) for table in (left, right))
    known = theirs[1]
    values = theirs[0][known] if not known.all() else theirs[0]
    if not len(values):
        return Groups(np.full(len(left), -1, _GROUPS), np.full(len(right), -1, _GROUPS), 1)
    low, high = int(values.min()), int(values.max())
    if high - low < 4 * len(values) + 65_536:
        # Numbers that lie close together are their own groups.
        return Groups(_shifted(*mine, low, high), _shifted(*theirs, low, high), high - low + 1)
    distinct = np.unique(values)
    return Groups(_found(*mine, distinct), _found(*theirs, distinct), len(distinct))


def _exact(table: Table, name: str, signed: bool) -> tuple[Array, Array]:
    """Return (values as int64, which can be equal to any); `signed`: one of the columns compared may be negative."""
    values = table[name]
    known = values != table.column(name).null
    if values.dtype == np.uint64:
        # Beyond 63 bits the same bits stand for negative numbers, which are equal to none of a signed column.
        known = known & (values <= np.uint64(2**63 - 1)) if signed else known
        return values.view(np.int64), known
    return values.astype(np.int64, copy=False), known


def _shifted(values: Array, known: Array, low: int, high: int) -> Array:
    inside = known & (values >= low) & (values <= high)
    return np.where(inside, values - low, -1).astype(_GROUPS)


def _found(values: Array, known: Array, distinct: Array) -> Array:
    places = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
    return np.where(known & (distinct[places] == values), places, -1).astype(_GROUPS)


def _product(one: Groups, other: Groups) -> Groups:
    """Return the groups of two columns taken together."""
    left, right = (
        np.where((first < 0) | (second < 0), -1, first.astype(np.int64) * other.group_count + second)
        for first, second in ((one.left, other.left), (one.right, other.right))
    )
    count = one.group_count * other.group_count
    if count <= max(4 * len(right), 65_536) and count < _COUNT_MAX:
        return Groups(left.astype(_GROUPS), right.astype(_GROUPS), count)
    distinct = np.unique(right[right >= 0])
    if not len(distinct):
        return Groups(np.full(len(left), -1, _GROUPS), np.full(len(right), -1, _GROUPS), 1)
    return Groups(_found(left, left >= 0, distinct), _found(right, right >= 0, distinct), len(distinct))
