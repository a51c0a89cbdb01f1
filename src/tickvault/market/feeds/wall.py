"""Wall clocks of tables into UTC, where a zone says which moment is meant.

When a clock is set forward, an hour never comes; when it is set back, an hour comes twice, and a stamp without its
offset does not say which is meant.

Invariant: neither is guessed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.schema import TIME_NULL

_NS = 1_000_000_000
_QUARTER_NS = 900 * _NS
_EPOCH = datetime(1970, 1, 1)


class Moments(NamedTuple):
    """What a wall clock's times are in UTC."""

    times: Array
    """int64 ns UTC; null where null, where it never came, and where it came twice."""
    comes: Array
    """bool: the clock showed it."""
    once: Array
    """bool: it did not show it twice."""


def moments(times: Array, tz: str) -> Moments:
    """Return UTC of wall-clock nanoseconds since the epoch.

    Raises
    ------
    ValueError, KeyError, OSError
        The zone is none.
    """
    zone = ZoneInfo(tz)
    present = times != TIME_NULL
    # Zones change on quarters of an hour at the finest, of those alive since 1972.
    quarters, inverse = np.unique(times[present] // _QUARTER_NS, return_inverse=True)
    early, late = (np.array([_offset_ns(at, zone, fold) for at in quarters.tolist()], np.int64) for fold in (0, 1))
    at = inverse.reshape(-1)
    comes, once = np.ones(len(times), np.bool_), np.ones(len(times), np.bool_)
    # PEP 495: in a gap the later reading is farther ahead of UTC, in a fold the earlier one is.
    comes[present] = (late <= early)[at]
    once[present] = (early <= late)[at]
    out = times.copy()
    out[present] -= early[at]
    return Moments(np.where(comes & once, out, TIME_NULL), comes, once)


def _offset_ns(quarter: int, zone: ZoneInfo, fold: int) -> int:
    offset = (_EPOCH + timedelta(minutes=15 * quarter)).replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None, "a zone tells its offset"
    return (offset.days * 86_400 + offset.seconds) * _NS
