"""Kernels of the order book: orders in queues, queues in levels, levels on a ladder a side.

How a book lies in memory (`Arrays`)::

    ids      order id ─▶ slot      open addressing, linear probing
    places   price ─▶ slot         the same, half of it for each side
    slots    an order: id, size, level, neighbours in its queue
             a level: price, size, orders, first and last order, side
             those given back are a list, and used again first
    ladder   a side's levels in order, the best one last, in blocks; half of it for each side
    spine    the blocks in order; and how full each is

A price is kept as a key that grows towards the best: of bids the price itself, of asks its complement, which exists for
every int64. So no tick is assumed, and any price may come; a level that comes or goes moves at most a block of others.

A kernel that lacks room stops before the row that needs it, and says where; the caller makes room and goes on.

All compiled code of the book stands in this file: numba's cache does not see when a function in another file changes.

Invariants: a level has the sum and the number of its orders, and is gone when it holds nothing; memory is bounded by
what was live at once; a row that does not fit is counted and changes nothing that it does not name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

from tickvault.market.book.faults import EXAMPLES_MAX, Fault
from tickvault.market.columns import Array
from tickvault.market.schema import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    F_TOB,
    MODIFY,
    NO_SIDE,
    PRICE_NULL,
    SIZE_NULL,
    TIME_NULL,
)

# Of a slot that is an order.
ID, SIZE, LEVEL, BEFORE, AFTER = range(5)
# Of one that is a level; SIZE as of an order. COUNT is -1 where the source does not say it.
PRICE, _, COUNT, FIRST, LAST, SIDE = range(6)
SLOT_WORDS = 8
#: Rungs of a block of the ladder; the columns of a rung.
BLOCK_SIZE = 64
_RUNG_KEY, _RUNG_SLOT = 0, 1
#: Columns of the spine: the block at a place, those beyond the used ones being free; how many rungs a block has.
BLOCK, FILL = 0, 1
_BIDS, _ASKS = 0, 1
# Of the state: live orders and levels; the first free slot (-1: none), the first never used; then faults (`TALLY`), and
# of each `EXAMPLES_MAX` examples of row, order id, price, size, time (`EXAMPLES`).
(
    ORDERS,
    BID_LEVELS,
    ASK_LEVELS,
    BID_BLOCKS,
    ASK_BLOCKS,
    FREE,
    USED,
    ID_SHIFT,
    PLACE_SHIFT,
    ROWS,
    EVENTS,
    TS,
    FLAGS,
    SNAPSHOT_TS,
    SNAPSHOT_CLEARED,
    STRICT,
    STOPPED,
    TALLY,
) = range(18)
EXAMPLE_WORDS = 5
EXAMPLES = TALLY + len(Fault)
STATE_SIZE = EXAMPLES + len(Fault) * EXAMPLES_MAX * EXAMPLE_WORDS
COUNT_NULL = np.uint32(0xFFFFFFFF)
_NONE = -1
_HASH = np.uint64(0x9E3779B97F4A7C15)
#: Side of the book by letter; -1 of any other.
_SIDE_OF = np.full(256, -1, np.int64)
_SIDE_OF[BID], _SIDE_OF[ASK] = _BIDS, _ASKS

_UNKNOWN_CANCEL = int(Fault.UNKNOWN_CANCEL)
_UNKNOWN_MODIFY = int(Fault.UNKNOWN_MODIFY)
_DUPLICATE_ADD = int(Fault.DUPLICATE_ADD)
_CANCEL_BEYOND = int(Fault.CANCEL_BEYOND)
_OTHER_PRICE = int(Fault.OTHER_PRICE)
_SIDE_CHANGED = int(Fault.SIDE_CHANGED)
_UNUSABLE = int(Fault.UNUSABLE)
_CROSSED = int(Fault.CROSSED)
_LOCKED = int(Fault.LOCKED)
_UNKNOWN_LEVEL = int(Fault.UNKNOWN_LEVEL)
_IMPLIED_CLEAR = int(Fault.IMPLIED_CLEAR)
_MAYBE_BAD = int(Fault.MAYBE_BAD)
_IS_STRICT = np.array([fault.is_strict for fault in Fault], np.bool_)


_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def _compiled(function: _Kernel) -> _Kernel:
    # `_nrt=False`: a kernel allocates nothing, and its caller holds the arrays, so that references need not be counted.
    # Numba would count one for each array that is taken out of a tuple, at the cost of as much again as the rows.
    made: _Kernel = njit(nogil=True, cache=True, _nrt=False)(function)  # type: ignore[call-overload]
    return made


def _inlined(function: _Kernel) -> _Kernel:
    made: _Kernel = njit(nogil=True, cache=True, _nrt=False, forceinline=True)(function)  # type: ignore[call-overload]
    return made


class Arrays(NamedTuple):
    """A book; int64 throughout."""

    slots: Array
    """Shape (n, SLOT_WORDS)."""
    ids: Array
    """Shape (m, 2), m a power of two: order id (its bits), slot + 1; 0 where free."""
    places: Array
    """Shape (2 m, 2), m a power of two: key, slot + 1; 0 where free. The second half is the asks'."""
    ladder: Array
    """Shape (2 k BLOCK_SIZE, 2): key, slot; keys rise. The second half is the asks'."""
    spine: Array
    """Shape (2 k, 2): `BLOCK`, `FILL`. The second half is the asks'."""
    state: Array


class Orders(NamedTuple):
    """Rows of `mbo`."""

    action: Array
    side: Array
    flags: Array
    order_id: Array
    """int64: its bits."""
    price: Array
    size: Array
    ts: Array


class Changes(NamedTuple):
    """Rows of `mbp-delta`."""

    side: Array
    flags: Array
    price: Array
    size: Array
    orders: Array
    """int64: how many are at the level; empty where none says it."""
    ts: Array


class Stacks(NamedTuple):
    """The best levels at several moments, best first."""

    price: Array
    """int64, shape (2, depth, n): bids, asks; null where there is no level."""
    size: Array
    orders: Array
    """uint32: how many."""


# -- the tables


@_inlined
def _find(table: Any, base: Any, mask: Any, shift: Any, key: Any) -> Any:
    """Return where a key is, or the free place where it would be, in the part of a table from `base` on."""
    at = np.int64((np.uint64(key) * _HASH) >> np.uint64(shift))
    while table[base + at, 1] != 0 and table[base + at, 0] != key:
        at = (at + 1) & mask
    return base + at


@_inlined
def _remove(table: Any, base: Any, mask: Any, shift: Any, place: Any) -> None:
    """Free a place, moving up those behind it that would no longer be found."""
    gap = at = place - base
    while True:
        at = (at + 1) & mask
        if table[base + at, 1] == 0:
            break
        home = np.int64((np.uint64(table[base + at, 0]) * _HASH) >> np.uint64(shift))
        if ((at - home) & mask) >= ((at - gap) & mask):
            table[base + gap, 0] = table[base + at, 0]
            table[base + gap, 1] = table[base + at, 1]
            gap = at
    table[base + gap, 1] = 0


@_compiled
def rehash(old: Any, table: Any, shift: Any) -> None:
    """Put everything of a table into a larger one, which is empty."""
    for place in range(len(old)):
        if old[place, 1] != 0:
            at = _find(table, 0, len(table) - 1, shift, old[place, 0])
            table[at, 0] = old[place, 0]
            table[at, 1] = old[place, 1]


@_inlined
def _find_id(book: Any, order: Any) -> Any:
    return _find(book.ids, 0, len(book.ids) - 1, book.state[ID_SHIFT], order)


@_inlined
def _find_place(book: Any, side: Any, key: Any) -> Any:
    half = len(book.places) >> 1
    return _find(book.places, side * half, half - 1, book.state[PLACE_SHIFT], key)


@_compiled
def find_order(book: Any, order: Any) -> Any:
    """Return an order's slot, -1 if it is not in the book."""
    return book.ids[_find_id(book, order), 1] - 1


@_compiled
def find_level(book: Any, side: Any, price: Any) -> Any:
    """Return a level's slot, -1 if there is none."""
    return book.places[_find_place(book, side, _key(side, price)), 1] - 1


@_inlined
def _take_slot(book: Any) -> Any:
    slot = book.state[FREE]
    if slot == _NONE:
        slot = book.state[USED]
        book.state[USED] = slot + 1
    else:
        book.state[FREE] = book.slots[slot, ID]
    return slot


@_inlined
def _give_back(book: Any, slot: Any) -> None:
    book.slots[slot, ID] = book.state[FREE]
    book.state[FREE] = slot


@_inlined
def _has_room(book: Any) -> Any:
    """Return whether an order and a level of either side can come."""
    state, places, blocks = book.state, len(book.places) >> 1, len(book.spine) >> 1
    return (
        state[USED] + 2 <= len(book.slots)
        and 2 * state[BID_LEVELS] < places
        and 2 * state[ASK_LEVELS] < places
        and state[BID_BLOCKS] < blocks
        and state[ASK_BLOCKS] < blocks
    )


# -- levels


@_inlined
def _key(side: Any, price: Any) -> Any:
    return price if side == _BIDS else ~price


@_inlined
def _block_of(book: Any, side: Any, key: Any) -> Any:
    """Return the place on the spine of the block that a key belongs to; searched from the best on. There is one."""
    half = len(book.spine) >> 1
    base = side * half
    high, low, step = base + book.state[BID_BLOCKS + side], base + book.state[BID_BLOCKS + side] - 1, 1
    while low > base and book.ladder[(base + book.spine[low, BLOCK]) * BLOCK_SIZE, _RUNG_KEY] > key:
        high = low
        low -= step
        step *= 2
    low = max(low, base)
    while high - low > 1:
        middle = (low + high) >> 1
        if book.ladder[(base + book.spine[middle, BLOCK]) * BLOCK_SIZE, _RUNG_KEY] > key:
            high = middle
        else:
            low = middle
    return low


@_inlined
def _rung_of(book: Any, first: Any, fill: Any, key: Any) -> Any:
    """Return the rung, in a block that begins with `first`, of the first key that is not worse."""
    low, high = first, first + fill
    if fill and book.ladder[high - 1, _RUNG_KEY] < key:
        return high
    while low < high:
        middle = (low + high) >> 1
        if book.ladder[middle, _RUNG_KEY] < key:
            low = middle + 1
        else:
            high = middle
    return low


@_compiled
def _insert_block(book: Any, side: Any, place: Any) -> Any:
    """Put a free block at a place on the spine, and return its number."""
    count = book.state[BID_BLOCKS + side]
    last = side * (len(book.spine) >> 1) + count
    block = book.spine[last, BLOCK]
    for at in range(last, place, -1):
        book.spine[at, BLOCK] = book.spine[at - 1, BLOCK]
    book.spine[place, BLOCK] = block
    book.state[BID_BLOCKS + side] = count + 1
    return block


@_compiled
def _remove_block(book: Any, side: Any, place: Any) -> None:
    count = book.state[BID_BLOCKS + side] - 1
    last = side * (len(book.spine) >> 1) + count
    block = book.spine[place, BLOCK]
    for at in range(place, last):
        book.spine[at, BLOCK] = book.spine[at + 1, BLOCK]
    book.spine[last, BLOCK] = block
    book.state[BID_BLOCKS + side] = count


@_compiled
def _split(book: Any, side: Any, place: Any) -> None:
    """Move the better half of a full block into one of its own."""
    base = side * (len(book.spine) >> 1)
    old, half = book.spine[place, BLOCK], BLOCK_SIZE // 2
    new = _insert_block(book, side, place + 1)
    for rung in range(half):
        for word in range(2):
            better = book.ladder[(base + old) * BLOCK_SIZE + half + rung, word]
            book.ladder[(base + new) * BLOCK_SIZE + rung, word] = better
    book.spine[base + old, FILL] = half
    book.spine[base + new, FILL] = half


@_inlined
def _insert_rung(book: Any, side: Any, key: Any, slot: Any) -> None:
    base = side * (len(book.spine) >> 1)
    if book.state[BID_BLOCKS + side] == 0:
        book.spine[base + _insert_block(book, side, base), FILL] = 0
    place = _block_of(book, side, key)
    if book.spine[base + book.spine[place, BLOCK], FILL] == BLOCK_SIZE:
        _split(book, side, place)
        place = _block_of(book, side, key)
    block = base + book.spine[place, BLOCK]
    fill = book.spine[block, FILL]
    rung = _rung_of(book, block * BLOCK_SIZE, fill, key)
    for at in range(block * BLOCK_SIZE + fill, rung, -1):
        book.ladder[at, _RUNG_KEY] = book.ladder[at - 1, _RUNG_KEY]
        book.ladder[at, _RUNG_SLOT] = book.ladder[at - 1, _RUNG_SLOT]
    book.ladder[rung, _RUNG_KEY] = key
    book.ladder[rung, _RUNG_SLOT] = slot
    book.spine[block, FILL] = fill + 1
    book.state[BID_LEVELS + side] += 1


@_inlined
def _remove_rung(book: Any, side: Any, key: Any) -> None:
    base = side * (len(book.spine) >> 1)
    place = _block_of(book, side, key)
    block = base + book.spine[place, BLOCK]
    fill = book.spine[block, FILL] - 1
    first = block * BLOCK_SIZE
    for at in range(_rung_of(book, first, fill + 1, key), first + fill):
        book.ladder[at, _RUNG_KEY] = book.ladder[at + 1, _RUNG_KEY]
        book.ladder[at, _RUNG_SLOT] = book.ladder[at + 1, _RUNG_SLOT]
    book.spine[block, FILL] = fill
    book.state[BID_LEVELS + side] -= 1
    if fill == 0:
        _remove_block(book, side, place)


@_inlined
def _best_rung(book: Any, side: Any) -> Any:
    """Return the rung of a side's best level, which it has."""
    base = side * (len(book.spine) >> 1)
    block = base + book.spine[base + book.state[BID_BLOCKS + side] - 1, BLOCK]
    return block * BLOCK_SIZE + book.spine[block, FILL] - 1


@_compiled
def best_level(book: Any, side: Any) -> Any:
    """Return the slot of a side's best level, -1 if it has none."""
    return book.ladder[_best_rung(book, side), _RUNG_SLOT] if book.state[BID_LEVELS + side] else np.int64(_NONE)


@_inlined
def _level(book: Any, side: Any, price: Any) -> Any:
    """Return a level's slot; a new one is made where there is none."""
    key = _key(side, price)
    place = _find_place(book, side, key)
    if book.places[place, 1] != 0:
        return book.places[place, 1] - 1
    slot = _take_slot(book)
    book.places[place, 0] = key
    book.places[place, 1] = slot + 1
    book.slots[slot, PRICE], book.slots[slot, SIZE], book.slots[slot, COUNT] = price, 0, 0
    book.slots[slot, FIRST], book.slots[slot, LAST], book.slots[slot, SIDE] = _NONE, _NONE, side
    _insert_rung(book, side, key, slot)
    return slot


@_inlined
def _drop_level(book: Any, slot: Any) -> None:
    side = book.slots[slot, SIDE]
    key = _key(side, book.slots[slot, PRICE])
    half = len(book.places) >> 1
    place = _find_place(book, side, key)
    _remove(book.places, side * half, half - 1, book.state[PLACE_SHIFT], place)
    _remove_rung(book, side, key)
    _give_back(book, slot)


# -- faults


@_compiled
def _note(book: Any, fault: Any, order: Any, price: Any, size: Any) -> None:
    state = book.state
    stops = state[STRICT] and _IS_STRICT[fault] and not state[STOPPED]
    count = state[TALLY + fault]
    if count < EXAMPLES_MAX or stops:
        # Of what stops a book the newest must be kept, which its error tells.
        at = EXAMPLES + (fault * EXAMPLES_MAX + min(count, EXAMPLES_MAX - 1)) * EXAMPLE_WORDS
        state[at], state[at + 1], state[at + 2], state[at + 3], state[at + 4] = (
            state[ROWS],
            order,
            price,
            size,
            state[TS],
        )
    state[TALLY + fault] = count + 1
    if stops:
        state[STOPPED] = fault + 1


# -- orders


@_inlined
def _enqueue(book: Any, slot: Any, side: Any, price: Any, size: Any) -> None:
    """Put an order behind all others of its price."""
    level = _level(book, side, price)
    last = book.slots[level, LAST]
    book.slots[slot, SIZE], book.slots[slot, LEVEL] = size, level
    book.slots[slot, BEFORE], book.slots[slot, AFTER] = last, _NONE
    if last == _NONE:
        book.slots[level, FIRST] = slot
    else:
        book.slots[last, AFTER] = slot
    total = book.slots[level, SIZE] + size
    book.slots[level, LAST], book.slots[level, SIZE] = slot, total
    book.slots[level, COUNT] += 1
    if total < 0:
        _note(book, _UNUSABLE, book.slots[slot, ID], price, size)


@_inlined
def _dequeue(book: Any, slot: Any) -> None:
    before, after, level = book.slots[slot, BEFORE], book.slots[slot, AFTER], book.slots[slot, LEVEL]
    if before == _NONE:
        book.slots[level, FIRST] = after
    else:
        book.slots[before, AFTER] = after
    if after == _NONE:
        book.slots[level, LAST] = before
    else:
        book.slots[after, BEFORE] = before
    count = book.slots[level, COUNT] - 1
    book.slots[level, SIZE] -= book.slots[slot, SIZE]
    book.slots[level, COUNT] = count
    if count == 0:
        _drop_level(book, level)


@_inlined
def _drop_order(book: Any, place: Any) -> None:
    slot = book.ids[place, 1] - 1
    _remove(book.ids, 0, len(book.ids) - 1, book.state[ID_SHIFT], place)
    _dequeue(book, slot)
    _give_back(book, slot)
    book.state[ORDERS] -= 1


@_compiled
def _clear_side(book: Any, side: Any) -> None:
    while book.state[BID_LEVELS + side] > 0:
        level = book.ladder[_best_rung(book, side), _RUNG_SLOT]
        slot = book.slots[level, FIRST]
        while slot != _NONE:
            after = book.slots[slot, AFTER]
            _remove(book.ids, 0, len(book.ids) - 1, book.state[ID_SHIFT], _find_id(book, book.slots[slot, ID]))
            _give_back(book, slot)
            book.state[ORDERS] -= 1
            slot = after
        _drop_level(book, level)


# -- rows


@_compiled
def _begin_snapshot(book: Any, ts: Any, clears: Any) -> None:
    """Clear the book where a snapshot begins, if the snapshot does not say so itself."""
    goes_on = book.state[FLAGS] & F_SNAPSHOT and book.state[ROWS] > 0
    if goes_on and (book.state[SNAPSHOT_CLEARED] or ts == book.state[SNAPSHOT_TS]):
        return
    book.state[SNAPSHOT_TS] = ts
    book.state[SNAPSHOT_CLEARED] = clears
    if not clears and book.state[BID_LEVELS] + book.state[ASK_LEVELS] > 0:
        _clear_side(book, _BIDS)
        _clear_side(book, _ASKS)
        _note(book, _IMPLIED_CLEAR, 0, PRICE_NULL, SIZE_NULL)


@_inlined
def _end_row(book: Any, flags: Any) -> None:
    book.state[FLAGS] = flags
    if flags & F_MAYBE_BAD_BOOK:
        _note(book, _MAYBE_BAD, 0, PRICE_NULL, SIZE_NULL)
    if flags & F_LAST:
        book.state[EVENTS] += 1
        if book.state[BID_LEVELS] > 0 and book.state[ASK_LEVELS] > 0:
            bid = book.ladder[_best_rung(book, _BIDS), _RUNG_KEY]
            ask = ~book.ladder[_best_rung(book, _ASKS), _RUNG_KEY]
            if bid >= ask:
                _note(book, _CROSSED if bid > ask else _LOCKED, 0, bid, ask)
    book.state[ROWS] += 1


@_compiled
def _top_of_book(book: Any, side: Any, price: Any, size: Any) -> None:
    """Make a side that one level, without orders."""
    _clear_side(book, side)
    if price != PRICE_NULL and size != SIZE_NULL and size > 0:
        book.slots[_level(book, side, price), SIZE] = size


@_inlined
def _come(book: Any, adds: Any, order: Any, side: Any, price: Any, size: Any) -> None:
    """Apply an A or M."""
    place = _find_id(book, order)
    if book.ids[place, 1] != 0:
        slot = book.ids[place, 1] - 1
        if adds:
            _note(book, _DUPLICATE_ADD, order, price, size)
        else:
            level = book.slots[slot, LEVEL]
            left = book.slots[slot, SIZE]
            if book.slots[level, SIDE] != side:
                _note(book, _SIDE_CHANGED, order, price, size)
            elif book.slots[level, PRICE] == price and 0 < size <= left:
                book.slots[level, SIZE] += size - left
                book.slots[slot, SIZE] = size
                return
        if size == 0:
            _drop_order(book, place)
            return
        _dequeue(book, slot)
    else:
        if not adds:
            _note(book, _UNKNOWN_MODIFY, order, price, size)
            if size == 0:
                return
        slot = _take_slot(book)
        book.slots[slot, ID] = order
        book.ids[place, 0] = order
        book.ids[place, 1] = slot + 1
        book.state[ORDERS] += 1
    _enqueue(book, slot, side, price, size)


@_inlined
def _cancel(book: Any, order: Any, price: Any, size: Any) -> None:
    place = _find_id(book, order)
    if book.ids[place, 1] == 0:
        _note(book, _UNKNOWN_CANCEL, order, price, size)
        return
    slot = book.ids[place, 1] - 1
    left, level = book.slots[slot, SIZE], book.slots[slot, LEVEL]
    if book.slots[level, PRICE] != price and price != PRICE_NULL:
        _note(book, _OTHER_PRICE, order, price, size)
    if size >= left:
        if size > left:
            _note(book, _CANCEL_BEYOND, order, price, size)
        _drop_order(book, place)
    else:
        book.slots[slot, SIZE] = left - size
        book.slots[level, SIZE] -= size


@_inlined
def _is_usable(action: Any, side: Any, price: Any, size: Any) -> Any:
    if size < 0 or size == SIZE_NULL:
        return False
    if action == CANCEL:
        return True
    return side >= 0 and price != PRICE_NULL and (size > 0 or action == MODIFY)


@_compiled
def replay_orders(rows: Any, begin: Any, end: Any, book: Any) -> Any:
    """Apply rows of `mbo` [begin, end); return the first that was not, for want of room or because it stopped."""
    state = book.state
    actions, sides, all_flags, order_ids = rows.action, rows.side, rows.flags, rows.order_id
    prices, sizes, times = rows.price, rows.size, rows.ts
    for row in range(begin, end):
        action, flags = actions[row], all_flags[row]
        comes = (action == ADD) | (action == MODIFY)
        if comes and not _has_room(book):
            return row
        ts = times[row]
        if ts != TIME_NULL:
            state[TS] = ts
        if flags & F_SNAPSHOT:
            _begin_snapshot(book, ts, action == CLEAR)
        if comes | (action == CANCEL):
            side, order, price, size = _SIDE_OF[sides[row]], order_ids[row], prices[row], sizes[row]
            if flags & F_TOB and comes and side >= 0:
                _top_of_book(book, side, price, size)
            elif flags & F_TOB or not _is_usable(action, side, price, size):
                _note(book, _UNUSABLE, order, price, size)
            elif comes:
                _come(book, action == ADD, order, side, price, size)
            else:
                _cancel(book, order, price, size)
        elif action == CLEAR:
            _clear_side(book, _BIDS)
            _clear_side(book, _ASKS)
        _end_row(book, flags)
        if state[STOPPED]:
            return row + 1
    return end


@_compiled
def replay_changes(rows: Any, begin: Any, end: Any, book: Any) -> Any:
    """Apply rows of `mbp-delta`, as `replay_orders` does those of `mbo`."""
    state = book.state
    letters, all_flags, counts = rows.side, rows.flags, rows.orders
    prices, sizes, times = rows.price, rows.size, rows.ts
    counted = len(counts) > 0
    for row in range(begin, end):
        if not _has_room(book):
            return row
        side, flags, price, size, ts = _SIDE_OF[letters[row]], all_flags[row], prices[row], sizes[row], times[row]
        clears = letters[row] == NO_SIDE and price == PRICE_NULL and size == 0
        if ts != TIME_NULL:
            state[TS] = ts
        if flags & F_SNAPSHOT:
            _begin_snapshot(book, ts, clears)
        if clears:
            _clear_side(book, _BIDS)
            _clear_side(book, _ASKS)
        elif side >= 0:
            if price == PRICE_NULL or size < 0 or size == SIZE_NULL:
                _note(book, _UNUSABLE, 0, price, size)
            elif size > 0:
                level = _level(book, side, price)
                book.slots[level, SIZE] = size
                book.slots[level, COUNT] = counts[row] if counted else np.int64(-1)
            else:
                level = book.places[_find_place(book, side, _key(side, price)), 1] - 1
                if level == _NONE:
                    _note(book, _UNKNOWN_LEVEL, 0, price, size)
                else:
                    _drop_level(book, level)
        _end_row(book, flags)
        if state[STOPPED]:
            return row + 1
    return end


# -- out


@_compiled
def write_stack(book: Any, stacks: Any, at: Any) -> None:
    """Write the best levels of both sides as moment `at`."""
    prices, sizes, counts = stacks.price, stacks.size, stacks.orders
    depth = prices.shape[1]
    for side in range(2):
        base = side * (len(book.spine) >> 1)
        place, nth = base + book.state[BID_BLOCKS + side] - 1, 0
        while place >= base and nth < depth:
            block = base + book.spine[place, BLOCK]
            rung = block * BLOCK_SIZE + book.spine[block, FILL] - 1
            while rung >= block * BLOCK_SIZE and nth < depth:
                level = book.ladder[rung, _RUNG_SLOT]
                orders = book.slots[level, COUNT]
                prices[side, nth, at] = book.slots[level, PRICE]
                sizes[side, nth, at] = book.slots[level, SIZE]
                counts[side, nth, at] = COUNT_NULL if orders < 0 else np.uint32(orders)
                rung -= 1
                nth += 1
            place -= 1
        for absent in range(nth, depth):
            prices[side, absent, at] = PRICE_NULL
            sizes[side, absent, at] = SIZE_NULL
            counts[side, absent, at] = COUNT_NULL


@_compiled
def stack_orders(rows: Any, begin: Any, stops: Any, done: Any, book: Any, stacks: Any) -> Any:
    """Apply rows of `mbo` from `begin` on, and write the best levels before each of the rows `stops`, from `done` on.

    Returns (the row it stopped at, how many moments are written): for want of room, or at the end.
    """
    for at in range(done, len(stops)):
        begin = replay_orders(rows, begin, stops[at], book)
        if begin < stops[at] or book.state[STOPPED]:
            return begin, at
        write_stack(book, stacks, at)
    return begin, len(stops)


@_compiled
def stack_changes(rows: Any, begin: Any, stops: Any, done: Any, book: Any, stacks: Any) -> Any:
    """As `stack_orders`, of rows of `mbp-delta`."""
    for at in range(done, len(stops)):
        begin = replay_changes(rows, begin, stops[at], book)
        if begin < stops[at] or book.state[STOPPED]:
            return begin, at
        write_stack(book, stacks, at)
    return begin, len(stops)


@_compiled
def write_queue(book: Any, level: Any, ids: Any, sizes: Any) -> None:
    """Write the orders of a level, first in the queue first."""
    slot = book.slots[level, FIRST]
    for at in range(len(ids)):
        ids[at] = book.slots[slot, ID]
        sizes[at] = book.slots[slot, SIZE]
        slot = book.slots[slot, AFTER]


@_compiled
def ahead_of(book: Any, slot: Any) -> Any:
    """Return (how many orders are before one in its queue, their sizes together)."""
    count, size = 0, np.int64(0)
    slot = book.slots[slot, BEFORE]
    while slot != _NONE:
        count += 1
        size += book.slots[slot, SIZE]
        slot = book.slots[slot, BEFORE]
    return count, size
