"""The arrays of a book: made, made larger, and told.

Invariants: tables of ids and prices are at most half full; what is made larger keeps its slots.
"""

from __future__ import annotations

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.book.faults import EXAMPLES_MAX, Fault, Faults
from tickvault.market.book.kernels import (
    ASK_BLOCKS,
    ASK_LEVELS,
    BID_BLOCKS,
    BID_LEVELS,
    BLOCK,
    BLOCK_SIZE,
    EXAMPLE_WORDS,
    EXAMPLES,
    FREE,
    ID_SHIFT,
    PLACE_SHIFT,
    SIZE,
    SLOT_WORDS,
    STATE_SIZE,
    STRICT,
    TALLY,
    TS,
    USED,
    Arrays,
    rehash,
)
from tickvault.market.columns import Array
from tickvault.market.schema import TIME_NULL

_SLOTS_FIRST, _LEVELS_FIRST, _BLOCKS_FIRST = 1024, 256, 4


def empty_arrays(*, strict: bool) -> Arrays:
    """Return an empty book, with room for few."""
    state = np.zeros(STATE_SIZE, np.int64)
    state[FREE], state[TS], state[STRICT] = -1, TIME_NULL, strict
    state[ID_SHIFT], state[PLACE_SHIFT] = _shift(2 * _SLOTS_FIRST), _shift(2 * _LEVELS_FIRST)
    return Arrays(
        np.zeros((_SLOTS_FIRST, SLOT_WORDS), np.int64),
        np.zeros((2 * _SLOTS_FIRST, 2), np.int64),
        np.zeros((4 * _LEVELS_FIRST, 2), np.int64),
        np.zeros((2 * _BLOCKS_FIRST * BLOCK_SIZE, 2), np.int64),
        _spine(_BLOCKS_FIRST),
        state,
    )


def _spine(blocks: int) -> Array:
    """Return a spine whose blocks are all free."""
    spine = np.zeros((2 * blocks, 2), np.int64)
    spine[:, BLOCK] = np.tile(np.arange(blocks), 2)
    return spine


def grown(book: Arrays) -> Arrays:
    """Return the book with twice the room of whatever is full."""
    state = book.state
    if 2 * max(state[BID_LEVELS], state[ASK_LEVELS]) >= len(book.places) // 2:
        half = len(book.places) // 2
        places = np.zeros((4 * half, 2), np.int64)
        state[PLACE_SHIFT] = _shift(2 * half)
        for side in range(2):
            rehash(book.places[side * half :][:half], places[2 * side * half :][: 2 * half], state[PLACE_SHIFT])
        book = book._replace(places=places)
    if max(state[BID_BLOCKS], state[ASK_BLOCKS]) >= len(book.spine) // 2:
        half = len(book.spine) // 2
        spine = _spine(2 * half)
        ladder = np.zeros((4 * half * BLOCK_SIZE, 2), np.int64)
        for side in range(2):
            spine[2 * side * half :][:half] = book.spine[side * half :][:half]
            rungs = half * BLOCK_SIZE
            ladder[2 * side * rungs :][:rungs] = book.ladder[side * rungs :][:rungs]
        book = book._replace(spine=spine, ladder=ladder)
    if state[USED] + 2 > len(book.slots):
        ids = np.zeros((2 * len(book.ids), 2), np.int64)
        state[ID_SHIFT] = _shift(len(ids))
        rehash(book.ids, ids, state[ID_SHIFT])
        book = book._replace(ids=ids, slots=np.concatenate((book.slots, np.zeros_like(book.slots))))
    return book


def copied(book: Arrays) -> Arrays:
    """Return a book of its own."""
    return Arrays(*(array.copy() for array in book))


def rescale(book: Arrays, factor: int) -> None:
    """Multiply every size.

    Raises
    ------
    InvalidInputError
        One does not fit 63 bits.
    """
    sizes = book.slots[:, SIZE]
    if int(np.abs(sizes).max()) > np.iinfo(np.int64).max // factor:
        raise InvalidInputError(f"apply: the book's sizes do not fit a scale {factor} times as fine")
    sizes *= factor


def faults_of(book: Arrays) -> Faults:
    """Return what did not fit."""
    examples = book.state[EXAMPLES:].reshape(len(Fault), EXAMPLES_MAX, EXAMPLE_WORDS)
    return Faults(book.state[TALLY:EXAMPLES], examples)


def _shift(places: int) -> int:
    return 64 - (places.bit_length() - 1)
