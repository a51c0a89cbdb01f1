"""ITCH 5.0 messages that are few: stock directory into `definition`; trading actions, Reg SHO, halts and system events
into `status`.

Invariants: each message makes one row; the venue's own letters are kept beside the numbers that they are mapped to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.feeds.events import ALL_KEY, pieces, text
from tickvault.market.feeds.itch.kernels import EVENT, SIZES
from tickvault.market.feeds.protocol import Piece
from tickvault.market.schema import Column, Kind

_HEAD = [("type", "u1"), ("locate", ">u2"), ("tracking", ">u2"), ("since_high", ">u2"), ("since_low", ">u4")]
_STOCK = [*_HEAD, ("stock", "S8")]
_LAYOUTS = {
    "S": np.dtype([*_HEAD, ("event", "S1")]),
    "R": np.dtype(
        [
            *_STOCK,
            ("market_category", "S1"),
            ("financial_status", "u1"),
            ("round_lot_size", ">u4"),
            ("round_lots_only", "u1"),
            ("classification", "S1"),
            ("sub_type", "S2"),
            ("authenticity", "u1"),
            ("short_sale_threshold", "u1"),
            ("ipo_flag", "u1"),
            ("luld_tier", "u1"),
            ("etp_flag", "u1"),
            ("etp_leverage", ">u4"),
            ("inverse", "u1"),
        ]
    ),
    "H": np.dtype([*_STOCK, ("state", "S1"), ("reserved", "S1"), ("reason", "S4")]),
    "Y": np.dtype([*_STOCK, ("action", "S1")]),
    "h": np.dtype([*_STOCK, ("market", "S1"), ("action", "S1")]),
}
assert all(layout.itemsize == SIZES[letter] for letter, layout in _LAYOUTS.items())

_LETTERS = (
    "financial_status",
    "round_lots_only",
    "authenticity",
    "short_sale_threshold",
    "ipo_flag",
    "luld_tier",
    "etp_flag",
    "inverse",
)
#: Of `definition`, as the venue writes them: authenticity P is production and T a test security.
DEFINITION_EXTENSIONS = (
    *(Column(name, Kind.CHAR, "Nasdaq's letter of the stock directory") for name in _LETTERS),
    Column("etp_leverage", Kind.INT, "leverage of an exchange-traded product"),
)
#: Of `status`: the message that a row comes from, and what it says.
STATUS_EXTENSIONS = (
    Column("message", Kind.CHAR, "the venue's letter of the message"),
    Column("code", Kind.CODE, "its state, event, restriction or reason, as the venue writes it"),
)
# Databento's numbers: status_action; is_trading and is_quoting with it.
_SAID_NOTHING = 65535
_STATES = {"H": (8, "N", "N"), "P": (9, "N", "N"), "Q": (3, "N", "Y"), "T": (7, "Y", "Y")}
_EVENTS = {"O": 0, "S": 1, "Q": 7, "M": 13, "E": 12, "C": 0}
_SSR_CHANGE, _OPERATIONAL = 14, 60
#: Databento's reason of Nasdaq's codes, those of which there is no doubt.
REASONS = {
    "": 0,
    "T1": 30,
    "T2": 31,
    "T3": 32,
    "T5": 50,
    "LUDP": 50,
    "LUDS": 50,
    "T6": 2,
    "T8": 90,
    "T12": 70,
    "H4": 12,
    "H9": 13,
    "H10": 14,
    "H11": 10,
    "O1": 60,
    "R1": 16,
    "R4": 17,
    "R9": 18,
    "C3": 33,
    "MWC1": 120,
    "MWC2": 121,
    "MWC3": 122,
    "MWC0": 123,
    "MWCQ": 124,
}


class _Message(NamedTuple):
    fields: Array
    """Structured, of one layout."""
    ts: Array
    received: Array
    sequence: Array
    ordinals: Array


def event_pieces(
    data: Array, notes: Array, zone: Array, venue: str, symbol: Callable[[int], str], captured: bool
) -> Iterator[Piece]:
    """Decode the events that the kernel noted in a block, a piece for each symbol and schema.

    Parameters
    ----------
    data : ndarray of uint8
        The block.
    notes : ndarray of int64, shape (n, 8)
        See `kernels.NOTE_WORDS`.
    zone : ndarray of int64
        By quarter of an hour of the day: what to add to nanoseconds since midnight for UTC.
    symbol : callable
        The symbol of a stock locate.
    captured : bool
        There are times of receipt.
    """
    notes = notes[notes[:, 5] == EVENT]
    if not len(notes):
        return
    kinds = data[notes[:, 0]]
    messages = {
        letter: _read(data, notes[kinds == ord(letter)], layout, zone)
        for letter, layout in _LAYOUTS.items()
        if (kinds == ord(letter)).any()
    }
    for letter, message in messages.items():
        locates = message.fields["locate"].astype(np.int64)
        values = _definitions(message) if letter == "R" else _statuses(letter, message)
        values["ts_event"] = message.ts
        values["instrument_id"] = locates.astype(np.uint32)
        if captured:
            values["ts_recv"] = message.received
        keys = np.full(len(locates), ALL_KEY) if letter == "S" else locates
        schema, extensions = ("definition", DEFINITION_EXTENSIONS) if letter == "R" else ("status", STATUS_EXTENSIONS)
        yield from pieces(schema, values, message.ordinals, keys, symbol, venue, extensions)


def _read(data: Array, notes: Array, layout: np.dtype[Any], zone: Array) -> _Message:
    where = notes[:, 0][:, None] + np.arange(layout.itemsize)
    fields = np.ascontiguousarray(data[where]).view(layout)[:, 0]
    since = (fields["since_high"].astype(np.int64) << 32) | fields["since_low"]
    ts = since + zone[since // 900_000_000_000]
    return _Message(fields, ts, notes[:, 6], notes[:, 2].astype(np.uint64), notes[:, 4].copy())


def _definitions(message: _Message) -> dict[str, Array | list[str]]:
    fields = message.fields
    classes, types = text(fields["classification"]), text(fields["sub_type"])
    columns: dict[str, Array | list[str]] = {
        "raw_symbol": text(fields["stock"]),
        "security_type": [(first + second).strip() for first, second in zip(classes, types, strict=True)],
        "exchange": text(fields["market_category"]),
        "instrument_class": np.where(fields["classification"] == b"B", ord("B"), ord("K")).astype(np.uint8),
        "security_update_action": np.full(len(fields), ord("A"), np.uint8),
        "min_lot_size": fields["round_lot_size"].astype(np.int32),
        "etp_leverage": fields["etp_leverage"].astype(np.int64),
    }
    columns.update({name: fields[name].copy() for name in _LETTERS})
    return columns


def _statuses(letter: str, message: _Message) -> dict[str, Array | list[str]]:
    fields = message.fields
    rows = len(fields)
    action, reason = np.full(rows, _SAID_NOTHING, np.uint16), np.full(rows, _SAID_NOTHING, np.uint16)
    trading, quoting, restricted = (np.full(rows, ord("~"), np.uint8) for _ in range(3))
    if letter == "S":
        code = text(fields["event"])
        action[:] = [_EVENTS.get(event, _SAID_NOTHING) for event in code]
    elif letter == "H":
        code = text(fields["reason"])
        for place, state in enumerate(text(fields["state"])):
            action[place], first, second = _STATES.get(state, (_SAID_NOTHING, "~", "~"))
            trading[place], quoting[place] = ord(first), ord(second)
        reason[:] = [REASONS.get(text, _SAID_NOTHING) for text in code]
    elif letter == "Y":
        code = text(fields["action"])
        action[:] = _SSR_CHANGE
        restricted[:] = [ord({"0": "N", "1": "Y", "2": "Y"}.get(text, "~")) for text in code]
    else:
        # A halt of one of Nasdaq's markets; the code is the market and what it does: QH, BT.
        code = [market + act for market, act in zip(text(fields["market"]), text(fields["action"]), strict=True)]
        action[:] = [{"H": 8, "T": 7}.get(text[-1:], _SAID_NOTHING) if text[:1] == "Q" else 0 for text in code]
        reason[:] = _OPERATIONAL
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
