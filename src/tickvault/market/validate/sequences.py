"""Rules of sequence numbers, and of rows that repeat.

Invariants: numbers are compared within a symbol, publisher and channel only, and rows of snapshots are left out (their
order is the queue's); a number that repeats is no fault, since a message may carry several rows.
"""

from __future__ import annotations

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.validate import kernels
from tickvault.market.validate.rule import Found, NotChecked, Rows, Rule, Severity, register

_TICKS = frozenset({"mbo", "mbp-1", "mbp-10", "trades", "bbo", "status", "statistics"})
#: Of a series that has a channel to itself, so many steps are of 0 or 1.
_ALONE_SHARE = 0.99


def _steps(rows: Rows, name: str) -> tuple[Array, Array]:
    """Return each row's number less that of the row before it in its group, and which rows have one before."""
    rows.needed(name)
    numbers = rows[name]
    chosen = rows.live & (numbers != rows.table.column(name).null)
    if not chosen.any():
        raise NotChecked(f"no row has a {name}")
    groups = rows.groups
    before = np.empty(len(rows), np.int64)
    kernels.previous(groups, int(groups.max(initial=-1)) + 1, chosen, before)
    told = before >= 0
    signed = numbers.astype(np.int64)
    return np.where(told, signed - signed[np.maximum(before, 0)], 0), told


def _gap(rows: Rows) -> Found:
    steps, told = _steps(rows, "sequence")
    if not told.any():
        return Found(rows.nothing)
    alone = float((steps[told] <= 1).mean())
    if alone < _ALONE_SHARE:
        raise NotChecked(
            f"{1 - alone:.1%} of the steps are above 1: the channel carries other instruments too, so that a gap here "
            "is no loss"
        )
    found = told & (steps > 1)
    return Found(found, f"{int((steps[found] - 1).sum()):,} numbers are missing" if found.any() else "")


SEQUENCE_GAP = register(
    Rule(
        "sequence_gap",
        "Numbers are missing before the row: messages of its channel were lost. Looked for only where the series has a "
        "channel to itself (99 % of the steps are 0 or 1).",
        Severity.WARNING,
        _gap,
        _TICKS,
        ("publisher_id", "channel_id", "sequence"),
    )
)


def _reversal(rows: Rows) -> Found:
    steps, told = _steps(rows, "sequence")
    return Found(told & (steps < 0))


SEQUENCE_REVERSAL = register(
    Rule(
        "sequence_reversal",
        "The number is lower than that of the row before it in its channel: rows are out of order, or numbering began "
        "again. Numbers that repeat are no fault.",
        Severity.WARNING,
        _reversal,
        _TICKS,
        ("publisher_id", "channel_id", "sequence"),
    )
)


def _update_gap(rows: Rows) -> Found:
    rows.needed("first_update_id", "last_update_id")
    first, last = rows["first_update_id"].astype(np.int64), rows["last_update_id"].astype(np.int64)
    begins = np.zeros(len(rows), np.bool_)
    begins[1:] = (last[1:] != last[:-1]) & rows.live[1:] & rows.live[:-1]
    told = rows["previous_update_id"]
    null = rows.table.column("previous_update_id").null
    before = np.where(told == null, first - 1, told.astype(np.int64))
    found = rows.nothing.copy()
    # Both ways: a message that is missing, and one that begins before the last one's end.
    found[1:] = begins[1:] & (before[1:] != last[:-1])
    return Found(found)


UPDATE_GAP = register(
    Rule(
        "update_gap",
        "The message does not follow the one before it (its previous update id, else its first one less 1, is not the "
        "last id before): changes were lost, and the book is wrong until the next snapshot.",
        Severity.ERROR,
        _update_gap,
        frozenset({"mbp-delta"}),
        ("first_update_id", "last_update_id", "previous_update_id"),
    )
)


def _repeats(rows: Rows) -> Found:
    table = rows.table
    columns = [table[name] for name in table.columns]
    hashes = np.zeros(len(rows), np.uint64)
    for values in columns:
        kernels.mix(hashes, values.astype(np.int64).view(np.uint64))
    order = np.argsort(hashes)
    in_order = hashes[order]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = in_order[1:] != in_order[:-1]
    # Of rows with one hash, which stand in no order, the earliest is the one that the others repeat.
    starts = np.flatnonzero(begins)
    firsts = np.minimum.reduceat(order, starts) if len(starts) else order
    lengths = np.diff(starts, append=len(rows))
    first = np.repeat(firsts[lengths > 1], lengths[lengths > 1])
    second = order[np.repeat(lengths > 1, lengths)]
    equal = first != second
    for values in columns:
        equal &= values[first] == values[second]
    found = rows.nothing.copy()
    found[second[equal]] = True
    return Found(found)


REPEATED_ROW = register(
    Rule(
        "repeated_row",
        "An earlier row is equal in every column. Venues repeat rows legitimately, so that this is for information; "
        "nothing is dropped.",
        Severity.INFO,
        _repeats,
    )
)
