"""IEX messages that are few: security directory into `definition`, official prices into `statistics`, trading status,
operational halt, short-sale test, security and system events into `status`.

Invariants: each message makes one row; the venue's own letters are kept beside the numbers that they are mapped to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.feeds.events import pieces, text
from tickvault.market.feeds.iex.kernels import EVENT, SIZES
from tickvault.market.feeds.itch.events import REASONS, STATUS_EXTENSIONS
from tickvault.market.feeds.protocol import Piece
from tickvault.market.schema import PRICE_NULL, Column, Kind

_HEAD = [("type", "u1"), ("detail", "u1"), ("ts", "<i8")]
_SYMBOL = [*_HEAD, ("symbol", "S8")]
_LAYOUTS = {
    "S": np.dtype(_HEAD),
    "D": np.dtype([*_SYMBOL, ("round_lot_size", "<u4"), ("adjusted_close", "<i8"), ("luld_tier", "u1")]),
    "H": np.dtype([*_SYMBOL, ("reason", "S4")]),
    "O": np.dtype(_SYMBOL),
    "P": np.dtype([*_SYMBOL, ("why", "S1")]),
    "E": np.dtype(_SYMBOL),
    "X": np.dtype([*_SYMBOL, ("price", "<i8")]),
}
assert all(layout.itemsize == SIZES[letter] for letter, layout in _LAYOUTS.items())
_PRICE_MAX = (2**63 - 2) // 100_000

DEFINITION_EXTENSIONS = (
    Column("is_test", Kind.CHAR, "Y or N"),
    Column("is_when_issued", Kind.CHAR, "Y or N"),
    Column("is_etp", Kind.CHAR, "Y or N"),
    Column("luld_tier", Kind.INT, "tier of limit up, limit down; 0 not applicable"),
    Column("adjusted_close", Kind.PRICE, "previous official close, adjusted for corporate actions"),
)
_SAID_NOTHING = 65535
# Databento's numbers: status_action; is_trading and is_quoting with it.
_STATES = {"H": (8, "N", "N"), "O": (2, "N", "Y"), "P": (9, "N", "Y"), "T": (7, "Y", "Y")}
_EVENTS = {"O": 0, "S": 1, "R": 7, "M": 13, "E": 12, "C": 0}
_STATISTICS = {"Q": 1, "M": 11}
_SSR_CHANGE, _OPERATIONAL = 14, 60


class _Message(NamedTuple):
    fields: Array
    received: Array
    sequence: Array
    ordinals: Array


def event_pieces(data: Array, notes: Array, venue: str, symbol: Callable[[int], str]) -> Iterator[Piece]:
    """Decode the events that the kernel noted in a chunk, a piece for each symbol and kind of message.

    Parameters
    ----------
    data : ndarray of uint8
        The chunk.
    notes : ndarray of int64, shape (n, 9)
        See `kernels.NOTE_WORDS`.
    symbol : callable
        The symbol of a key.
    """
    notes = notes[notes[:, 5] == EVENT]
    if not len(notes):
        return
    kinds = data[notes[:, 0]]
    for letter, layout in _LAYOUTS.items():
        chosen = notes[kinds == ord(letter)]
        if not len(chosen):
            continue
        where = chosen[:, 0][:, None] + np.arange(layout.itemsize)
        fields = np.ascontiguousarray(data[where]).view(layout)[:, 0]
        sequence = chosen[:, 2].astype(np.uint64)
        message = _Message(fields, chosen[:, 6], sequence, chosen[:, 4].copy())
        extensions: tuple[Column, ...] = STATUS_EXTENSIONS
        if letter == "D":
            schema, values, extensions = "definition", _definitions(message), DEFINITION_EXTENSIONS
        elif letter == "X":
            schema, values, extensions = "statistics", _statistics(message), ()
        else:
            schema, values = "status", _statuses(letter, message)
        values["ts_event"] = fields["ts"].astype(np.int64)
        values["ts_recv"] = message.received
        yield from pieces(schema, values, message.ordinals, chosen[:, 8], symbol, venue, extensions)


def _price(values: Array) -> Array:
    good = (values >= 0) & (values <= _PRICE_MAX)
    return np.where(good, np.where(good, values, 0).astype(np.int64) * 100_000, PRICE_NULL)


def _yes(bits: Array) -> Array:
    return np.where(bits != 0, ord("Y"), ord("N")).astype(np.uint8)


def _definitions(message: _Message) -> dict[str, Any]:
    fields = message.fields
    return {
        "raw_symbol": text(fields["symbol"]),
        "instrument_class": np.full(len(fields), ord("K"), np.uint8),
        "security_update_action": np.full(len(fields), ord("A"), np.uint8),
        "min_lot_size": fields["round_lot_size"].astype(np.int32),
        "is_test": _yes(fields["detail"] & 0x80),
        "is_when_issued": _yes(fields["detail"] & 0x40),
        "is_etp": _yes(fields["detail"] & 0x20),
        "luld_tier": fields["luld_tier"].astype(np.int64),
        "adjusted_close": _price(fields["adjusted_close"]),
    }


def _statistics(message: _Message) -> dict[str, Any]:
    fields = message.fields
    kinds = [_STATISTICS.get(chr(detail), _SAID_NOTHING) for detail in fields["detail"].tolist()]
    return {
        "price": _price(fields["price"]),
        "stat_type": np.array(kinds, np.uint16),
        "update_action": np.ones(len(fields), np.uint8),
        "sequence": message.sequence,
    }


def _statuses(letter: str, message: _Message) -> dict[str, Any]:
    fields = message.fields
    rows = len(fields)
    action, reason = np.full(rows, _SAID_NOTHING, np.uint16), np.full(rows, _SAID_NOTHING, np.uint16)
    trading, quoting, restricted = (np.full(rows, ord("~"), np.uint8) for _ in range(3))
    code = [chr(detail).strip() for detail in fields["detail"].tolist()]
    if letter == "S":
        action[:] = [_EVENTS.get(event, _SAID_NOTHING) for event in code]
    elif letter == "H":
        for place, state in enumerate(code):
            action[place], first, second = _STATES.get(state, (_SAID_NOTHING, "~", "~"))
            trading[place], quoting[place] = ord(first), ord(second)
        code = text(fields["reason"])
        reason[:] = [REASONS.get(text, _SAID_NOTHING) for text in code]
    elif letter == "O":
        # N says that there is no operational halt, not that there is trading.
        action[:] = [{"O": 8, "N": 0}.get(state, _SAID_NOTHING) for state in code]
        trading[:] = [ord("N" if state == "O" else "~") for state in code]
        reason[:] = _OPERATIONAL
    elif letter == "P":
        action[:] = _SSR_CHANGE
        restricted[:] = np.where(fields["detail"] == 1, ord("Y"), np.where(fields["detail"] == 0, ord("N"), ord("~")))
        code = text(fields["why"])
    else:
        action[:] = 0
    return {
        "status_action": action,
        "reason": reason,
        "is_trading": trading,
        "is_quoting": quoting,
        "is_short_sell_restricted": restricted,
        "sequence": message.sequence,
        "message": np.full(rows, ord(letter), np.uint8),
        "code": code,
    }
