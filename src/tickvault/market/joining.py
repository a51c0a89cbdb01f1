"""Rows of several pieces as one: absent columns filled, dictionaries united, scales made equal.

Invariants: the numbers mean the same afterwards; what would not fit raises.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import CODE_NULL, Column, Kind


def largest_scale(pieces: Sequence[Columns], name: str) -> int:
    """Return the finest `size_scale` or `turnover_scale`; the others divide it, since all are powers of ten."""
    return max((getattr(piece, name) for piece in pieces), default=1)


def join_column(
    pieces: Sequence[Columns], column: Column, *, size_scale: int, turnover_scale: int
) -> tuple[list[Array], list[str]]:
    """Return a column's array of each piece, in those scales, and the strings of its codes."""
    if column.kind is Kind.CODE:
        return _recoded(pieces, column.name)
    if column.kind is Kind.SIZE:
        factors = [size_scale // piece.size_scale for piece in pieces]
    elif column.kind is Kind.TURNOVER:
        factors = [turnover_scale // piece.turnover_scale for piece in pieces]
    else:
        factors = [1] * len(pieces)
    return [_scaled(piece, column, factor) for piece, factor in zip(pieces, factors, strict=True)], []


def _scaled(piece: Columns, column: Column, factor: int) -> Array:
    found = piece.arrays.get(column.name)
    if found is None:
        return np.full(len(piece), column.null, column.dtype)
    if factor == 1:
        return found
    present = found != column.null
    if present.any() and int(np.abs(found[present]).max()) > np.iinfo(np.int64).max // factor:
        raise InvalidInputError(
            f"column {column.name} of {piece.schema.name} does not fit a scale {factor} times as fine"
        )
    return np.where(present, found * np.int64(factor), found)


def _recoded(pieces: Sequence[Columns], name: str) -> tuple[list[Array], list[str]]:
    numbers: dict[str, int] = {}
    arrays = []
    for piece in pieces:
        words = piece.dictionaries.get(name, [])
        target = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)
        found = piece.arrays.get(name)
        if found is None:
            arrays.append(np.full(len(piece), CODE_NULL, np.int32))
        elif (target == np.arange(len(target))).all():
            arrays.append(found)
        else:
            arrays.append(np.where(found < 0, np.int32(CODE_NULL), target[found]))
    return arrays, list(numbers)


def extensions_of(pieces: Sequence[Columns]) -> dict[str, Column]:
    """Return the columns beyond the schema's, by name.

    Raises
    ------
    InvalidInputError
        Two pieces mean different things by one name.
    """
    found: dict[str, Column] = {}
    for piece in pieces:
        for column in piece.extensions:
            other = found.setdefault(column.name, column)
            if (other.kind, other.dtype) != (column.kind, column.dtype):
                raise InvalidInputError(
                    f"column {column.name} is {other.kind} ({other.dtype}) in one piece, and {column.kind} "
                    f"({column.dtype}) in another"
                )
    return found


def join_columns(pieces: Sequence[Columns]) -> Columns:
    """Return the rows of all pieces, at least one and all of one schema, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    extensions = extensions_of(pieces)
    present = {name for piece in pieces for name in piece.arrays}
    columns = [column for column in (*pieces[0].schema.columns, *extensions.values()) if column.name in present]
    scales = {name: largest_scale(pieces, name) for name in ("size_scale", "turnover_scale")}
    arrays, dictionaries = {}, {}
    for column in columns:
        found, words = join_column(pieces, column, **scales)
        arrays[column.name] = np.concatenate(found)
        if column.kind is Kind.CODE:
            dictionaries[column.name] = words
    return Columns(
        pieces[0].schema,
        arrays,
        dictionaries,
        tuple(extensions.values()),
        **scales,
    )
