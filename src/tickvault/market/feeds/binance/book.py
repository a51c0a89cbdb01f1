"""Binance's depth messages into rows of `mbp-delta`: one row a level, bids then asks, with flags that tell what holds.

- A row says what stands at a price from now on; size 0 removes the level. The last row of a message has F_LAST.
- A snapshot begins with a row that clears the book: side N, price null, size 0. Its rows have F_SNAPSHOT.
- A snapshot takes another road than the stream, and comes later than the changes that follow it. Changes that came
  before it in the capture and belong after it (u > lastUpdateId) are stored again at its end, with F_SNAPSHOT, so that
  rows applied one after another give the venue's book: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly
- A message without levels keeps its ids in one row that changes nothing: side N, price and size null.
- A message continues the one before where its pu (futures), or its U less 1 (spot), is the last u. Where it does not,
  its rows and those after it have F_MAYBE_BAD_BOOK, until a snapshot that is continued. The first message begins a
  chain. A snapshot that is ahead of the stream is continued by the first message that reaches beyond it; those before
  have F_MAYBE_BAD_BOOK, for they are older than the book.
- A snapshot of the best levels only (``@depth20``) makes the book that of those levels; changes after it have
  F_MAYBE_BAD_BOOK.

Invariants: the state carries over from block to block; what is kept of past messages is bounded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.feeds.binance.messages import Messages, Type
from tickvault.market.schema import (
    ASK,
    BID,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    NO_SIDE,
    PRICE_NULL,
    SIZE_NULL,
)

#: Messages kept for a snapshot that comes late, and their levels; at 100 ms a message, some minutes.
_KEPT_MESSAGES = 4096
_KEPT_LEVELS = 131_072
# Places in a chain's state.
_LAST, _OPEN, _BAD = range(3)


class Emissions(NamedTuple):
    """Messages as they are stored, in order; a change that is stored again after a snapshot is one of its own."""

    message: Array
    """int64: the message, in the block, whose turn it is; never falling."""
    happened: Array
    first_id: Array
    last_id: Array
    previous_id: Array
    level: Array
    bids: Array
    asks: Array
    lead: Array
    """int64: 1 where a row without a level comes first (a clearing one; or the only one of an empty message)."""
    flags: Array
    """uint8, of all its rows; F_LAST comes to the last row of the message."""

    @property
    def rows(self) -> Array:
        """How many rows each gives."""
        found: Array = self.lead + self.bids + self.asks
        return found


class Chain:
    """The state of one symbol's depth stream, from block to block."""

    def __init__(self) -> None:
        # The last update id, -1 before the first; whether it is a snapshot's that no message has reached beyond yet;
        # whether a gap was seen since the last snapshot.
        self._state = np.array([-1, 0, 0], np.int64)
        self._kept: Emissions | None = None
        self._kept_levels: tuple[Array, Array] = (np.empty(0, np.int64), np.empty(0, np.int64))

    def follow(self, messages: Messages, chosen: Array, prices: Array, sizes: Array) -> tuple[Emissions, Array, Array]:
        """Return (emissions, prices, sizes) of a block's depth messages of the symbol.

        Parameters
        ----------
        chosen : ndarray of int64
            The symbol's deltas and snapshots among the messages, in order.
        """
        parts: list[Emissions] = []
        window: Emissions | None = None
        types = messages.type[chosen]
        snapshots = np.flatnonzero(types == Type.SNAPSHOT)
        if len(snapshots) and self._kept is not None:
            # What is kept of blocks before gets places behind this block's levels.
            window = self._kept._replace(level=self._kept.level + len(prices))
            prices = np.concatenate((prices, self._kept_levels[0]))
            sizes = np.concatenate((sizes, self._kept_levels[1]))
        begin = 0
        for at in [*snapshots.tolist(), len(chosen)]:
            run = self._run(messages, chosen[begin:at])
            parts.append(run)
            begin = at + 1
            if at == len(chosen):
                break
            # Kept are changes only: what a snapshot of the best levels says is not to be stored again.
            window = _joined([part for part in (window, _changes(run, messages)) if part is not None])
            parts.extend(self._snapshot(messages, int(chosen[at]), window))
        emissions = _joined(parts)
        # Changes stored again count as the snapshot's, so that none is kept twice.
        self._keep(_changes(emissions, messages), prices, sizes)
        return emissions, prices, sizes

    def _run(self, messages: Messages, chosen: Array) -> Emissions:
        """Follow changes, and snapshots of the best levels, between two snapshots."""
        made = _taken(messages, chosen)
        partial = messages.type[chosen] == Type.PARTIAL
        # Of spot, U follows the u before; of futures, pu is it, for the ids between are other symbols'.
        before = np.where(made.previous_id >= 0, made.previous_id, made.first_id - 1)
        _follow(before, made.last_id, partial, self._state, made.flags)
        made.lead[partial | (made.bids + made.asks == 0)] = 1
        return made

    def _snapshot(self, messages: Messages, at: int, window: Emissions) -> list[Emissions]:
        """Return the emissions of a snapshot: itself, and the changes that came before it and belong after it."""
        made = _taken(messages, np.array([at]))
        made.lead[:] = 1
        made.flags[:] = F_SNAPSHOT
        reached, last = int(made.last_id[0]), int(self._state[_LAST])
        if last <= reached:
            self._state[:] = reached, 1, 0
            return [made]
        older = np.flatnonzero(window.last_id <= reached)
        begin = int(older[-1]) + 1 if len(older) else 0
        again = _sliced(window, slice(begin, None))
        before = np.where(again.previous_id >= 0, again.previous_id, again.first_id - 1)
        whole = len(before) > 0 and before[0] <= reached and bool((before[1:] == again.last_id[:-1]).all())
        self._state[_BAD] = not whole
        if not whole:
            return [made]
        count = len(before)
        flags = np.full(count, F_SNAPSHOT, np.uint8)
        return [made, again._replace(message=np.full(count, at), flags=flags)]

    def _keep(self, changes: Emissions, prices: Array, sizes: Array) -> None:
        """Keep the newest changes, and those kept before, with their levels."""
        if self._kept is not None:
            old = self._kept._replace(level=self._kept.level + len(prices))
            prices = np.concatenate((prices, self._kept_levels[0]))
            sizes = np.concatenate((sizes, self._kept_levels[1]))
            changes = _joined([old, changes])
        counts = (changes.bids + changes.asks)[::-1].cumsum()
        kept = min(int(np.searchsorted(counts, _KEPT_LEVELS, "right")), _KEPT_MESSAGES)
        changes = _sliced(changes, slice(len(changes.message) - kept, None))
        counts = changes.bids + changes.asks
        starts = counts.cumsum() - counts
        places = np.repeat(changes.level - starts, counts) + np.arange(int(counts.sum()))
        self._kept = changes._replace(level=starts)
        self._kept_levels = prices[places], sizes[places]


@njit(nogil=True, cache=True)
def _follow(before: Any, last_id: Any, partial: Any, state: Any, flags: Any) -> Any:
    for row in range(len(before)):
        if partial[row]:
            flags[row] = F_SNAPSHOT
            state[_BAD] = 1
            continue
        last = state[_LAST]
        stale = False
        if last >= 0:
            if state[_OPEN]:
                # Older than the snapshot, or the first to reach beyond it.
                stale = last_id[row] <= last and before[row] < last
                if before[row] > last:
                    state[_BAD] = 1
            elif before[row] != last:
                state[_BAD] = 1
        if state[_BAD] or stale:
            flags[row] = F_MAYBE_BAD_BOOK
        if not stale:
            state[_LAST] = last_id[row]
            state[_OPEN] = 0


def _taken(messages: Messages, chosen: Array) -> Emissions:
    count = len(chosen)
    return Emissions(
        chosen,
        messages.happened[chosen],
        messages.first_id[chosen],
        messages.last_id[chosen],
        messages.previous_id[chosen],
        messages.level[chosen],
        messages.bids[chosen],
        messages.asks[chosen],
        np.zeros(count, np.int64),
        np.zeros(count, np.uint8),
    )


def _sliced(emissions: Emissions, rows: slice | Array) -> Emissions:
    return Emissions(*(array[rows] for array in emissions))


def _joined(parts: list[Emissions]) -> Emissions:
    return Emissions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _changes(emissions: Emissions, messages: Messages) -> Emissions:
    return _sliced(emissions, messages.type[emissions.message] == Type.DELTA)


class Rows(NamedTuple):
    """Rows of `mbp-delta`, but for their times and ids."""

    emission: Array
    """int64: whose row it is."""
    offset: Array
    """int64: the row's number within its message."""
    side: Array
    price: Array
    size: Array
    flags: Array


def rows_of(emissions: Emissions, prices: Array, sizes: Array) -> Rows:
    """Return the rows of a symbol's depth messages."""
    counts = emissions.rows
    before = counts.cumsum() - counts
    emission = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(emission))
    nth = row - before[emission]
    level = nth - emissions.lead[emission]
    of_none = level < 0
    place = np.where(of_none, 0, emissions.level[emission] + level)
    side = np.where(level < emissions.bids[emission], np.uint8(BID), np.uint8(ASK))
    side[of_none] = NO_SIDE
    if len(prices):
        price, size = prices[place], sizes[place]
    else:
        price, size = np.zeros(len(place), np.int64), np.zeros(len(place), np.int64)
    flags = emissions.flags[emission]
    price[of_none] = PRICE_NULL
    size[of_none] = np.where(flags[of_none] & F_SNAPSHOT, 0, SIZE_NULL)
    # Rows of one message lie together: its first emission's first row is the row that its others are counted from.
    first = np.searchsorted(emissions.message, emissions.message)
    offset = row - before[first[emission]]
    message = emissions.message[emission]
    last = np.append(message[1:] != message[:-1], np.ones(min(len(message), 1), np.bool_))
    flags[last] |= np.uint8(F_LAST)
    return Rows(emission, offset, side, price, size, flags)
