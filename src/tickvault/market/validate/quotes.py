"""Rules of quotes and books.

Invariants: a side that is absent crosses nothing.
"""

from __future__ import annotations

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.schema import PRICE_NULL
from tickvault.market.validate import kernels
from tickvault.market.validate.rule import Found, NotChecked, Rows, Rule, Severity, register

_QUOTES = frozenset({"mbp-1", "mbp-10", "bbo"})


def _crossed(rows: Rows) -> Found:
    if rows.table.schema.name == "ohlcq-1m":
        rows.needed("bid_close", "ask_close")
        bids, asks, carried = rows["bid_close"], rows["ask_close"], False
    else:
        rows.needed("bid_px_00", "ask_px_00")
        bids, asks = rows["bid_px_00"], rows["ask_px_00"]
        carried = _one_sided(bids, asks)
    groups = rows.groups
    kinds = np.empty(len(rows), np.uint8)
    kernels.crossed(groups, int(groups.max(initial=-1)) + 1, bids, asks, carried, np.int64(PRICE_NULL), kinds)
    allowed, where = _may_cross(rows)
    kinds[allowed | ~(_last_of_moment(rows, groups) if carried else rows.whole)] = 0
    found = kinds > 0
    notes = [f"{int((kinds == 2).sum()):,} of them locked (bid = ask)"] if found.any() else []
    if carried:
        notes.append("rows have one side each: looked at after the last row of an exchange and time")
    notes.append(where)
    return Found(found, "; ".join(notes))


def _last_of_moment(rows: Rows, groups: Array) -> Array:
    """Return which rows are the last of their group and time: between them a quote is told by halves."""
    before = np.empty(len(rows), np.int64)
    kernels.previous(groups, int(groups.max(initial=-1)) + 1, np.ones(len(rows), np.bool_), before)
    times = rows["ts_index"]
    after = np.flatnonzero(before >= 0)
    found = np.ones(len(rows), np.bool_)
    found[before[after]] = times[after] != times[before[after]]
    return found


def _one_sided(bids: Array, asks: Array) -> bool:
    """Whether the source writes one side a row, as the consolidated tape's quotes come in LEAN's files."""
    return len(bids) > 0 and not ((bids != PRICE_NULL) & (asks != PRICE_NULL)).any()


def _may_cross(rows: Rows) -> tuple[Array, str]:
    """Return the rows in auctions and outside trading hours, and words for how that was told."""
    allowed = rows.nothing.copy()
    for start, end in rows.limits.auctions:
        allowed |= (rows.happened >= start) & (rows.happened < end)
    try:
        return allowed | ~rows.in_session, "within regular trading hours"
    except NotChecked:
        return allowed, "at all hours, since no calendar is known"


CROSSED = register(
    Rule(
        "crossed",
        "The best bid is at or above the best ask, outside auctions, when the book is whole. Each exchange and "
        "publisher is looked at alone: quotes of two exchanges may cross each other.",
        Severity.WARNING,
        _crossed,
        _QUOTES | {"ohlcq-1m"},
        ("exchange", "bid_px_00", "ask_px_00", "bid_close", "ask_close"),
    )
)


def _stale(rows: Rows) -> Found:
    groups = rows.groups
    before = np.empty(len(rows), np.int64)
    kernels.previous(groups, int(groups.max(initial=-1)) + 1, np.ones(len(rows), np.bool_), before)
    times = rows.happened
    waited = times - times[np.maximum(before, 0)]
    found = (before >= 0) & (waited > rows.limits.stale_after_ns) & rows.in_session
    # Only where the quote before stood in the same session: nights are no fault.
    from tickvault.market.reference.sessions import sessions

    assert rows.calendar is not None, "asked for by `in_session`"
    starts = sessions(rows.calendar).starts
    session = np.searchsorted(starts, times, "right")
    found &= session == session[np.maximum(before, 0)]
    longest = int(waited[found].max(initial=0)) // 1_000_000_000
    return Found(found, f"the longest stood for {longest:,} s" if found.any() else "")


STALE_QUOTE = register(
    Rule(
        "stale_quote",
        "The quote that this row replaces had stood for longer than `stale_after_ns` within one session: the exchange "
        "was quiet, or its feed had stopped.",
        Severity.INFO,
        _stale,
        _QUOTES,
        ("exchange", "bid_px_00", "ask_px_00"),
    )
)
