"""Messages that are few (directories, halts, official prices), in columns, into a piece for each symbol.

Invariants: within a symbol the order of the rows is kept; a piece's dictionaries hold few strings beside its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.protocol import Piece
from tickvault.market.schema import SCHEMAS, Column

#: The symbol of what concerns the whole market.
ALL_SYMBOLS = "*"
#: Its key.
ALL_KEY = -1


def text(values: Array) -> list[str]:
    """Return fields of padded letters as strings."""
    return [value.decode("ascii", "replace").strip(" \0") for value in values.tolist()]


def pieces(
    schema: str,
    values: Mapping[str, Array | list[str]],
    ordinals: Array,
    keys: Array,
    symbol: Callable[[int], str],
    venue: str,
    extensions: Sequence[Column],
) -> Iterator[Piece]:
    """Cut rows into a piece for each key.

    Parameters
    ----------
    values : mapping
        By column: numbers of its type, or strings.  Those of ``raw_symbol`` are of the key: one for each.
    keys : ndarray of int64
        Of each row; `ALL_KEY` for the whole market.
    symbol : callable
        The symbol of a key.
    """
    order = np.argsort(keys, kind="stable")
    bounds = np.flatnonzero(np.diff(keys[order], prepend=ALL_KEY - 1, append=ALL_KEY - 1)).tolist()
    arrays: dict[str, Array] = {}
    words: dict[str, list[str]] = {}
    own: list[str] = []
    for name, column in values.items():
        if not isinstance(column, list):
            arrays[name] = column[order]
        elif name == "raw_symbol":
            own = [column[row] for row in order.tolist()]
            arrays[name], words[name] = np.zeros(len(column), np.int32), [""]
        else:
            numbers: dict[str, int] = {}
            arrays[name] = np.array([numbers.setdefault(column[row], len(numbers)) for row in order.tolist()], np.int32)
            words[name] = list(numbers)
    columns = Columns(SCHEMAS[schema], arrays, words, extensions)
    ordinals = ordinals[order]
    sorted_keys = keys[order].tolist()
    for begin, end in pairwise(bounds):
        made = columns.take(slice(begin, end))
        if own:
            made.dictionaries = {**words, "raw_symbol": [own[begin]]}
        key = sorted_keys[begin]
        yield Piece(venue, ALL_SYMBOLS if key == ALL_KEY else symbol(key), made, ordinals[begin:end])
