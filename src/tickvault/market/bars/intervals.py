"""The intervals that bars are of, and the schema of such bars.

Invariants: intervals follow each other without a gap; each lies in one day of its zone, so that the first begins with
the day and the last, where the day is no multiple, ends with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.joins.days import DAY_NS, day_begins
from tickvault.market.joins.durations import duration_text, to_duration_ns
from tickvault.market.schema import Schema, schema_of

_SECOND = 1_000_000_000


class Interval(NamedTuple):
    """How time is cut."""

    length_ns: int
    tz: str | None
    offset_ns: int

    @classmethod
    def of(cls, interval: Any, tz: str | None, offset: Any) -> Interval:
        """Return an interval as users write it.

        Raises
        ------
        InvalidInputError
            It is not of whole seconds up to a day or of whole days, or the offset is a day or more.
        """
        length = to_duration_ns(interval, "interval")
        if length < _SECOND or length % _SECOND or (length > DAY_NS and length % DAY_NS):
            raise InvalidInputError(
                f"bars: interval={interval!r} must be of whole seconds up to a day, or of whole days: 1s, 5m, 1h, 1d"
            )
        shift = 0 if offset is None else to_duration_ns(offset, "offset")
        if abs(shift) >= DAY_NS:
            raise InvalidInputError(f"bars: offset={offset!r} must be shorter than a day, for or against the clock")
        return cls(length, tz, shift)

    def days(self, times: Array) -> Array:
        """Return where the days (or several days) begin that hold all times, and where the last of them ends."""
        if not len(times):
            return np.empty(0, np.int64)
        step = max(self.length_ns // DAY_NS, 1)
        return day_begins(int(times.min()), int(times.max()), self.tz, self.offset_ns, step)

    def schema(self, kind: str) -> Schema:
        """Return the schema of such bars: ``ohlcv`` or ``ohlcq``."""
        return schema_of(f"{kind}-{duration_text(self.length_ns)}")
