"""Shanghai and Shenzhen Level-2, as vendors write it to CSV: orders, trades, both in one file, and snapshots.

What a line becomes:

======================  =====================================================================================
orders                  `mbo`: an order A, a deletion (Shanghai) C
trades                  `trades`; a cancel (Shenzhen) C in `mbo`. Executions change no book here, as the orders
                        that they are against are in another source
orders and trades       both; executions change the book as `china.book` says. So too where the files of orders and
                        of trades lie in one zip
snapshots               `mbp-10`, as `china.snapshots` says
======================  =====================================================================================

``MDDate`` and ``MDTime`` (or ``Date`` and ``Time``; 10 ms stamps of Asia/Shanghai) are `ts_event`, ``ReceiveDateTime``
is `ts_recv`, ``ApplSeqNum`` is `sequence`, ``ChannelNo`` is `channel_id`, ``TradeIndex`` is `trade_id`, ``TradeMoney``
is `turnover` (in units of 0.0001). A security is called by its code; its suffix (``.SH``, ``.SZ``), else
``SecurityIDSource`` (101, 102), says the exchange: XSHG or XSHE. The fields' meanings and their sources stand in
`china.rows`.

Invariants: the rows of a security are in the order of day, channel and sequence, whatever the order of the file (one
has all trades behind all orders); equal sequences keep the file's order and stay. A last line that is cut off is
quarantined and is no row; any other line that cannot be read is a row, and is quarantined.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.china import book as china_book
from tickvault.market.feeds.china import rows as china_rows
from tickvault.market.feeds.china import snapshots as china_snapshots
from tickvault.market.feeds.faults import Faults
from tickvault.market.feeds.gather import Gathered
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.tabular import names_of, text_blocks
from tickvault.market.feeds.text import Fields, codes, day_start_ns
from tickvault.market.schema import SCHEMAS, TIME_NULL, TRADE

#: Lines of one security that are expanded at a time.
_LINES_AT_ONCE = 250_000
_SUFFIXES = {"SH": "XSHG", "SS": "XSHG", "SSE": "XSHG", "XSHG": "XSHG", "SZ": "XSHE", "SZSE": "XSHE", "XSHE": "XSHE"}
_SOURCES = {"101": "XSHG", "XSHG": "XSHG", "102": "XSHE", "XSHE": "XSHE"}
_SIDE_LETTERS = np.frombuffer(b"NBA", np.uint8)

Key = tuple[str, str]


class _Block(NamedTuple):
    """Whole lines of one member, without its header."""

    names: list[str]
    fields: Fields
    first: int
    """Number of its first line in the source."""
    cut_off: bytes
    """A last line that is not whole; else nothing."""


class ChinaFeed:
    """Level-2 of Shanghai and Shenzhen in CSV, plain or compressed."""

    name = "china"

    def recognises(self, source: Source) -> bool:
        """Return whether the first line is a header of one of the files."""
        line, end, _ = source.head.partition(b"\n")
        names = names_of(line) if end else []
        return china_rows.layout_of(names) is not None or china_snapshots.is_header(names)

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a source; see the module."""
        blocks = _blocks(source)
        first = next(blocks, None)
        if first is None:
            return
        if china_snapshots.is_header(first.names):
            yield from self._snapshots(source, options, chain([first], blocks))
        else:
            yield from self._ticks(source, options, chain([first], blocks))

    def _snapshots(self, source: Source, options: IngestOptions, blocks: Iterator[_Block]) -> Iterator[Decoded]:
        ordinal = 0
        for block in blocks:
            if not china_snapshots.is_header(block.names):
                raise InvalidInputError(f"ingest {source.path}: it has snapshots, and columns {block.names} too")
            day = _day(source, options, china_rows.place_of(block.names, "MDDate", "Date"))
            series, keys, exchange_good = _securities(source, options, block.fields, block.names)
            faults = Faults(block.fields.sound, f"it has not the {len(block.names)} fields of the header")
            faults.unless(exchange_good, "its exchange is neither Shanghai nor Shenzhen")
            columns = china_snapshots.parse(block.fields, block.names, day, faults)
            yield from _told(block, faults)
            rows = np.flatnonzero(faults.good)
            ordinals = np.cumsum(faults.good) - 1 + ordinal
            ordinal += len(rows)
            order = rows[np.argsort(series[rows], kind="stable")]
            bounds = np.searchsorted(series[order], np.arange(len(keys) + 1))
            for number, (venue, symbol) in enumerate(keys):
                mine = order[bounds[number] : bounds[number + 1]]
                if len(mine):
                    yield Piece(venue, symbol, columns.take(mine), ordinals[mine])

    def _ticks(self, source: Source, options: IngestOptions, blocks: Iterator[_Block]) -> Iterator[Decoded]:
        numbers: dict[Key, int] = {}
        has_orders: set[int] = set()
        damage: IntegrityError | None = None
        scale = china_rows.scale_checked(source.path, options.scale)
        with Gathered(china_rows.ROW) as gathered:
            try:
                for block in blocks:
                    layout = china_rows.layout_of(block.names)
                    if layout is None:
                        raise InvalidInputError(
                            f"ingest {source.path}: expected orders or trades of Shanghai or Shenzhen (ApplSeqNum, "
                            f"ChannelNo, …), found the columns {', '.join(block.names)[:200]}"
                        )
                    day = _day(source, options, layout.date)
                    series, keys, exchange_good = _securities(source, options, block.fields, block.names)
                    shenzhen = np.array([venue == "XSHE" for venue, _ in keys] or [False])[series]
                    rows, faults = china_rows.parse(block.fields, layout, block.first, day, scale, shenzhen)
                    faults.unless(exchange_good, "its exchange is neither Shanghai nor Shenzhen")
                    yield from _told(block, faults)
                    all_numbers = np.array([numbers.setdefault(key, len(numbers)) for key in keys] or [0])[series]
                    good = faults.good
                    has_orders |= set(np.unique(all_numbers[good & (rows["kind"] == china_rows.ORDER)]).tolist())
                    gathered.add(*((all_numbers, rows) if good.all() else (all_numbers[good], rows[good])))
            except IntegrityError as error:
                damage = error
            ordinal = 0
            names = list(numbers)
            for number, rows in gathered.series():
                for piece in _security(names[number], _in_sequence(rows), number in has_orders, ordinal):
                    ordinal += len(piece.columns)
                    yield piece
        if damage is not None:
            raise damage


def _told(block: _Block, faults: Faults) -> Iterator[Decoded]:
    """Count a block's lines, and give those that something is wrong with."""
    yield Counted(len(block.fields.starts))
    for row, reason in faults.reasons():
        yield Quarantined(block.first + row, reason, block.fields.raw(row))
    if block.cut_off:
        yield Quarantined(block.first + len(block.fields.starts), "the last line is cut off", block.cut_off)


def _blocks(source: Source) -> Iterator[_Block]:
    """Iterate over the lines of all members."""
    first = 0
    for names, fields, cut_off in text_blocks(source):
        yield _Block(names, fields, first, cut_off)
        first += len(fields.starts)


def _day(source: Source, options: IngestOptions, date_column: int) -> int | None:
    if date_column >= 0:
        return None
    date = options.needed("date", source, "it has no column of dates")
    try:
        return day_start_ns(date) // china_rows.DAY_NS
    except ValueError as error:
        raise InvalidInputError(f"ingest {source.path}: date={date!r} is no date ({error})") from error


def _securities(
    source: Source, options: IngestOptions, fields: Fields, names: list[str]
) -> tuple[Array, list[Key], Array]:
    """Return (each row's place in the list of securities, that list, which rows' exchange is known)."""
    series, words = codes(fields, china_rows.place_of(names, "SecurityID", "HTSCSecurityID"))
    told = china_rows.place_of(names, "SecurityIDSource")
    sources, source_words = np.zeros(len(series), np.int32), [""]
    if told >= 0 and any("." not in word for word in words):
        sources, told_words = codes(fields, told)
        sources, source_words = sources + 1, ["", *told_words]
    if len(source_words) == 1 and len(words) and series.min() >= 0:
        pairs, inverse = np.arange(len(words)), series
    else:
        pairs, inverse = np.unique(series.astype(np.int64) * len(source_words) + sources, return_inverse=True)
    keys: list[Key] = []
    known = []
    for pair in pairs.tolist():
        word, told_source = pair // len(source_words), source_words[pair % len(source_words)]
        code, dot, suffix = (words[word] if word >= 0 else "").rpartition(".")
        venue = _SUFFIXES.get(suffix.upper()) if dot else _SOURCES.get(told_source)
        if not dot and venue is None and told < 0 and word >= 0:
            venue = options.needed("venue", source, f"it does not say the exchange of {suffix}: XSHG or XSHE")
        keys.append((venue or "", code if dot else suffix))
        known.append(venue in {"XSHG", "XSHE"} and bool(keys[-1][1]))
    return inverse.reshape(-1), keys, np.array(known or [False])[inverse.reshape(-1)]


def _in_sequence(rows: Array) -> Array:
    """Return the rows of one security in the order of day, channel and sequence."""
    day, channel, sequence = rows["day"], rows["channel"], rows["sequence"]
    same_day = day[1:] == day[:-1]
    same_channel = same_day & (channel[1:] == channel[:-1])
    ordered = (day[1:] > day[:-1]) | (same_day & (channel[1:] > channel[:-1]))
    ordered |= same_channel & (sequence[1:] >= sequence[:-1])
    return rows if ordered.all() else rows.take(np.lexsort((sequence, channel, day)))


def _security(key: Key, rows: Array, executed: bool, ordinal: int) -> Iterator[Piece]:
    joined = np.zeros(len(rows), np.bool_)
    joined[:-1] = (rows["day"][1:] == rows["day"][:-1]) & (rows["channel"][1:] == rows["channel"][:-1])
    columns = {name: np.ascontiguousarray(rows[name]) for name in china_book.Rows._fields if name != "joined"}
    taken = china_book.Rows(**columns, joined=joined)
    streams: Array = np.cumsum(~joined) - ~joined
    book = china_book.empty_book(int(np.bincount(streams[rows["kind"] == china_rows.ORDER], minlength=1).max()))
    for begin in range(0, len(rows), _LINES_AT_ONCE):
        end = min(begin + _LINES_AT_ONCE, len(rows))
        made, trade_ordinals, ordinal = china_book.expand(taken, begin, end, executed, book, ordinal)
        if len(made.source):
            yield Piece(*key, _mbo(rows, made), made.ordinal)
        some = rows[begin:end]
        traded = some["kind"] == china_rows.TRADED
        if traded.any():
            yield Piece(*key, _trades(some[traded]), trade_ordinals[traded])


def _times(rows: Array, which: Array | slice = slice(None)) -> dict[str, Array]:
    """Return the columns of times; that of receipt only where it is told."""
    times = {name: np.ascontiguousarray(rows[name][which]) for name in ("ts_event", "ts_recv")}
    if (times["ts_recv"] == TIME_NULL).all():
        del times["ts_recv"]
    return times


def _mbo(rows: Array, made: china_book.Made) -> Columns:
    return Columns(
        SCHEMAS["mbo"],
        _times(rows, made.source)
        | {
            "order_id": made.order_id.astype(np.uint64),
            "price": made.price,
            "size": made.size,
            "flags": made.flags,
            "channel_id": rows["channel"][made.source].astype(np.uint16),
            "action": made.action,
            "side": made.side,
            "sequence": rows["sequence"][made.source].astype(np.uint64),
        },
    )


def _trades(rows: Array) -> Columns:
    columns = _times(rows) | {
        "price": np.ascontiguousarray(rows["price"]),
        "size": np.ascontiguousarray(rows["size"]),
        "action": np.full(len(rows), TRADE, np.uint8),
        "side": _SIDE_LETTERS[rows["side"]],
        "sequence": rows["sequence"].astype(np.uint64),
        "channel_id": rows["channel"].astype(np.uint16),
        "buy_order_id": rows["buy"].astype(np.uint64),
        "sell_order_id": rows["sell"].astype(np.uint64),
    }
    if (rows["trade_id"] >= 0).any():
        columns["trade_id"] = rows["trade_id"].astype(np.uint64)  # -1 becomes the largest number, which is null
        columns["turnover"] = np.ascontiguousarray(rows["turnover"])
    return Columns(SCHEMAS["trades"], columns, turnover_scale=china_rows.TURNOVER_SCALE)
