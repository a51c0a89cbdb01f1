"""LOBSTER's messages as rows of `mbo` and `status`.

Invariants: the last row of an event, and no other, has F_LAST; only A and C change the book.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.lobster.lines import FIELD_COUNT, PRICE_FACTOR, prices, sizes, times
from tickvault.market.feeds.text import Fields, integers, local_to_utc, split
from tickvault.market.schema import ADD, ASK, BID, CANCEL, F_LAST, FILL, NO_SIDE, TRADE, schema_of

ZONE = "America/New_York"
_EXECUTION, _HIDDEN, _CROSS, _HALT = 4, 5, 6, 7
_NONE = -(2**63)
#: The action of a type's first row, by type.
_ACTIONS = np.array([0, ADD, CANCEL, CANCEL, TRADE, TRADE, TRADE, 0], np.uint8)
# By price, from -1: halt, quoting resumes, trading resumes; numbered as Databento numbers what is announced.
_STATUS_ACTIONS = np.array([8, 3, 7], np.uint16)
_IS_TRADING, _IS_QUOTING = np.frombuffer(b"NNY", np.uint8), np.frombuffer(b"NYY", np.uint8)


class Messages(NamedTuple):
    """A block of messages, decoded."""

    row_count: int
    stored_count: int
    mbo: Columns
    mbo_ordinals: Array
    """int64, from 0 within the block, as those of `status`."""
    status: Columns
    status_ordinals: Array
    wrong: dict[int, str]
    """Why a row cannot be decoded, by row."""
    fields: Fields


def _judged(checks: Iterator[tuple[str, Array]]) -> tuple[Array, dict[int, str]]:
    """Return (which rows pass every check, the first check that each of the others fails)."""
    good: Array | None = None
    wrong: dict[int, str] = {}
    for reason, passed in checks:
        good = passed.copy() if good is None else good
        for row in np.flatnonzero(~passed).tolist():
            wrong.setdefault(row, reason)
        good &= passed
    assert good is not None, "there are checks"
    return good, wrong


def decode_messages(block: bytes, date: str) -> Messages:
    """Decode whole lines of a message file of a day."""
    fields = split(block, FIELD_COUNT)
    clock, clock_good = times(fields)
    kind, kind_good = integers(fields, 1, 0, empty_is_null=False)
    order, order_good = integers(fields, 2, _NONE, empty_is_null=False)
    size, size_good = sizes(fields, 3)
    price, price_good = prices(fields, 4)
    direction, direction_good = integers(fields, 5, 0, empty_is_null=False)
    kind_good = kind_good & (kind >= 1) & (kind <= _HALT)
    halted, crossed = kind == _HALT, kind == _CROSS

    def checks() -> Iterator[tuple[str, Array]]:
        yield f"a message has {FIELD_COUNT} fields", fields.sound
        yield "Time must be seconds after midnight, less than 86400", clock_good
        yield "Type must be 1 to 7", kind_good
        yield "OrderId must be a number, negative only of a cross", order_good & ((order >= 0) | halted | crossed)
        yield "Size must be a number, not negative", size_good | halted
        yield "Price must be a number that fits 63 bits when it is multiplied by 100000", price_good
        yield "Price of a halt must be -1, 0 or 1", ~halted | (abs(price) <= 1)
        yield "Direction must be 1 or -1", (direction_good & (abs(direction) == 1)) | halted | crossed

    good, wrong = _judged(checks())
    counts = np.where(good, np.where(kind == _EXECUTION, 3, 1), 0)
    rows = np.repeat(np.arange(len(kind)), counts)
    # Which row of its event each is.
    steps = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ts_event = local_to_utc(date, clock, ZONE)
    is_status = halted[rows]
    at, step = rows[~is_status], steps[~is_status]
    halts = rows[is_status]
    resting = np.where(direction[at] == 1, BID, ASK)
    aggressor = np.where(kind[at] == _CROSS, NO_SIDE, np.where(direction[at] == 1, ASK, BID))
    action = np.choose(step, (_ACTIONS[kind[at]], FILL, CANCEL)).astype(np.uint8)
    trade = action == TRADE
    last = (kind[at] != _EXECUTION) | (step == 2)
    mbo = {
        "ts_event": ts_event[at],
        "order_id": np.where(trade, 0, order[at]).astype(np.uint64),
        "price": price[at] * PRICE_FACTOR,
        "size": size[at],
        "flags": np.where(last, F_LAST, 0).astype(np.uint8),
        "action": action,
        "side": np.where(trade, aggressor, resting).astype(np.uint8),
    }
    announced = price[halts] + 1
    status = {
        "ts_event": ts_event[halts],
        "status_action": _STATUS_ACTIONS[announced],
        "is_trading": _IS_TRADING[announced],
        "is_quoting": _IS_QUOTING[announced],
    }
    return Messages(
        len(kind),
        len(rows),
        Columns(schema_of("mbo"), mbo),
        np.flatnonzero(~is_status),
        Columns(schema_of("status"), status),
        np.flatnonzero(is_status),
        wrong,
        fields,
    )
