"""Rules of times.

Invariants: rows that say that their receive time cannot be relied on, and rows of snapshots, are not held against a
clock.
"""

from __future__ import annotations

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.schema import F_BAD_TS_RECV, TIME_NULL
from tickvault.market.validate.rule import Found, Rows, Rule, Severity, register

_TICKS = frozenset({"mbo", "mbp-1", "mbp-10", "mbp-delta", "trades", "bbo", "definition", "status", "statistics"})
_SECOND = 1_000_000_000
#: Fewer rows tell nothing of a clock.
_ROWS_MIN = 20


def _delays(rows: Rows) -> tuple[Array, Array]:
    """Return (ts_recv - ts_event in ns, which rows tell)."""
    rows.needed("ts_event", "ts_recv")
    happened, received = rows["ts_event"], rows["ts_recv"]
    told = (happened != TIME_NULL) & (received != TIME_NULL) & rows.live
    if "flags" in rows.table:
        told &= (rows["flags"] & F_BAD_TS_RECV) == 0
    return np.where(told, received - happened, 0), told


def _behind(rows: Rows) -> Found:
    delays, told = _delays(rows)
    found = told & (delays < -rows.limits.clock_tolerance_ns)
    return Found(found, f"by up to {-int(delays[found].min()) / _SECOND:.6f} s" if found.any() else "")


CLOCK_BEHIND = register(
    Rule(
        "clock_behind",
        "The row was received before it happened, by more than the tolerance (1 ms): one of the two clocks is wrong.",
        Severity.ERROR,
        _behind,
        _TICKS,
    )
)


def _offset(rows: Rows) -> Found:
    delays, told = _delays(rows)
    limits = rows.limits
    usual = delays[told]
    if len(usual) < _ROWS_MIN:
        return Found(rows.nothing)
    # The quickest of the rows show what the clocks differ by; the slow ones were held up on their way.
    low, middle = (int(found) for found in np.quantile(usual, (0.01, 0.5), method="nearest"))
    if middle < -limits.clock_tolerance_ns:
        words = f"the receive clock is {-middle / _SECOND:.6f} s behind the venue's (median)"
    elif low > limits.clock_offset_ns:
        words = f"the receive clock is {low / _SECOND:.6f} s ahead of the venue's, or all rows came late"
    else:
        return Found(rows.nothing)
    return Found(told, words)


CLOCK_OFFSET = register(
    Rule(
        "clock_offset",
        "The receive clock differs from the venue's by a constant: most rows were received before they happened, or "
        "hardly any within a second. The rows' order is right, their times are not.",
        Severity.ERROR,
        _offset,
        _TICKS,
    )
)


def _back(rows: Rows) -> Found:
    times = rows["ts_index"]
    found = rows.nothing.copy()
    if len(times) > 1:
        back = (times[1:] < times[:-1]) & (times[1:] != TIME_NULL)
        found[1:] = back
    most = int((times[:-1] - times[1:])[found[1:]].max(initial=0)) if found.any() else 0
    return Found(found, f"by up to {most / _SECOND:.6f} s" if most else "")


CLOCK_BACK = register(
    Rule(
        "clock_back",
        "The time by which rows are found (`ts_recv`, else `ts_event`) is earlier than that of the row before.",
        Severity.WARNING,
        _back,
    )
)


def _null(rows: Rows) -> Found:
    return Found(rows["ts_index"] == TIME_NULL)


TIME_ABSENT = register(
    Rule(
        "time_absent",
        "The row has no time at all, and is found by reading without a range only.",
        Severity.WARNING,
        _null,
    )
)
