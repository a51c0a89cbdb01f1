"""LEAN, QuantConnect's zips of CSV: ticks, bars and open interest, of equities, forex and futures.

Everything but the numbers stands in the path, ``<security type>/<market>/<resolution>/<symbol>/<date>_<kind>.zip`` (of
days ``<security type>/<market>/daily/<symbol>.zip``), and of futures in the member's name, one a contract. The format:
https://github.com/QuantConnect/Lean/tree/master/Data (the readme of each security type).

Three clocks: equities of the USA are written by New York's wall clock, futures in UTC, and FXCM's forex at UTC-05
without daylight saving. Other markets' clocks are asked for.

Invariants: a line is a row, nothing is left out. In particular these are stored: trades of size 0, which move a bar's
high and low; ticks marked suspicious; and the last line of each contract-day of futures' ticks, which LEAN's writer
repeats (bars made of all the lines but that one are LEAN's own minute bars, prices and volume).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds import text
from tickvault.market.feeds.lean.layout import (
    NATIONAL_BEST,
    PRICE_OF_SIZE,
    SUSPICIOUS,
    Layout,
    Place,
    Read,
    contract,
    layout_of,
    place_of,
)
from tickvault.market.feeds.lines import without_last_blanks
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Member, Source
from tickvault.market.schema import NO_SIDE, PRICE_NULL, SIZE_NULL, TIME_NULL, TRADE, Schema, schema_of

_NS = 1_000_000_000
_DAY = 86_400 * _NS
_OPEN_INTEREST = 9
_ZONES = {("equity", "usa"): "America/New_York", ("forex", "fxcm"): "Etc/GMT+5"}
_LINE = re.compile(rb"^(\d+(\.\d+)?|\d{8} \d\d:\d\d),", re.MULTILINE)


class LeanFeed:
    """Zips of QuantConnect's LEAN."""

    name = "lean"

    def recognises(self, source: Source) -> bool:
        """Return whether the path is one of LEAN's, and a line begins with a time."""
        if place_of(source.folders, source.name) is None:
            return False
        with open(source.path, "rb") as file:
            zipped = file.read(2) == b"PK"
        return zipped and _has_lines(source)

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a zip; see `feeds.protocol.Feed`."""
        place = place_of(source.folders, source.name)
        if place is None:
            raise InvalidInputError(
                f"ingest {source.path}: a LEAN file lies in <security type>/<market>/<resolution>/<symbol>/ and is "
                "named <date>_<trade|quote|openinterest>.zip; what it holds cannot be told otherwise"
            )
        decoder = _Decoder(source, options, place)
        if not _has_lines(source):
            raise InvalidInputError(
                f"ingest {source.path}: lines of LEAN's begin with a time and a comma; these begin {source.head[:60]!r}"
            )
        for member in source.members():
            yield from decoder.member(member)


def _has_lines(source: Source) -> bool:
    """Return whether the first bytes hold a line that begins with a time; of an empty member, they may."""
    return not source.head or _LINE.search(source.head[:4096]) is not None


class _Block(NamedTuple):
    """The columns of a block's lines, and which lines are good."""

    arrays: dict[str, Array]
    dictionaries: dict[str, list[str]]
    good: Array
    reasons: dict[int, str]


class _Decoder:
    """Decodes the members of one zip; counts rows through all of them."""

    def __init__(self, source: Source, options: IngestOptions, place: Place) -> None:
        self.path = source.path
        self.place = place
        name, self.layout = layout_of(place, source.path)
        self.schema = schema_of(name)
        self.zone = _zone(source, options, place)
        if place.date:
            try:
                text.day_start_ns(place.date)
            except ValueError:
                raise InvalidInputError(f"ingest {source.path}: {place.date} in its name is no date") from None
        self.rows = 0
        self.stored = 0

    def member(self, member: Member) -> Iterator[Decoded]:
        symbol = self._symbol(member)
        for block in without_last_blanks(member.lines()):
            fields = text.split(block, len(self.layout))
            rows = len(fields.sound)
            yield Counted(rows)
            decoded = self._decode(fields)
            good = decoded.good
            for row in np.flatnonzero(~good).tolist():
                yield Quarantined(self.rows + row, f"{member.name}: {decoded.reasons[row]}", fields.raw(row))
            self.rows += rows
            if not good.any():
                continue
            arrays = decoded.arrays if good.all() else {name: array[good] for name, array in decoded.arrays.items()}
            count = len(arrays["ts_event"])
            extensions = tuple(column for column in (SUSPICIOUS, NATIONAL_BEST) if column.name in arrays)
            columns = Columns(self.schema, arrays, decoded.dictionaries, extensions)
            ordinals = np.arange(self.stored, self.stored + count, dtype=np.int64)
            self.stored += count
            yield Piece(self.place.market.upper(), symbol, columns, ordinals)

    def _symbol(self, member: Member) -> str:
        """Return the symbol of a member; raises `InvalidInputError` where it is not of its path's date and kind."""
        place = self.place
        parts = member.name.lower().removesuffix(".csv").split("_")
        if place.date and (parts[0] != place.date or place.kind not in parts):
            raise InvalidInputError(
                f"ingest {self.path}: its member {member.name} should be named {place.date}_…_{place.kind}…, as the "
                "zip is"
            )
        if place.security_type != "future":
            return place.symbol
        symbol = contract(place.symbol, member.name)
        if symbol is None:
            raise InvalidInputError(
                f"ingest {self.path}: its member {member.name} should end in the contract's month, as in _201312.csv"
            )
        return symbol

    def _decode(self, fields: text.Fields) -> _Block:
        good = fields.sound.copy()
        block = _Block({}, {}, good, {})
        for row in np.flatnonzero(~good).tolist():
            block.reasons[row] = f"it should have {len(self.layout)} fields"
        for at, (name, how) in enumerate(self.layout):
            values, right = self._field(fields, at, name, how, block)
            if not right.all():
                for row in np.flatnonzero(good & ~right).tolist():
                    block.reasons[row] = f"field {at + 1}, {name}, is no {how.name.lower().replace('_', ' ')}"
                good &= right
            block.arrays[name] = values
        _null_absent_sides(block.arrays, self.layout, self.place.security_type == "equity")
        self._complete(block.arrays)
        return block

    def _field(self, fields: text.Fields, at: int, name: str, how: Read, block: _Block) -> tuple[Array, Array]:
        """Return (values, which are good) of one field."""
        if how is Read.TIME:
            return self._times(fields)
        if how in (Read.PRICE, Read.QUOTE):
            digits = 5 if self.place.security_type == "equity" else 9
            return text.decimals(fields, at, digits, PRICE_NULL, empty_is_null=how is Read.QUOTE)
        if how in (Read.SIZE, Read.SIDE_SIZE):
            return text.integers(fields, at, SIZE_NULL, empty_is_null=how is Read.SIDE_SIZE)
        if how is Read.CODE:
            codes, block.dictionaries[name] = text.codes(fields, at)
            return codes, np.ones(len(codes), np.bool_)
        marks = text.letters(fields, at) - np.uint8(ord("0"))
        return marks, marks <= 1

    def _times(self, fields: text.Fields) -> tuple[Array, Array]:
        if not self.place.date:
            wall, good = _wall_times(fields)
            return _wall_to_utc(wall, self.zone), good
        since, good = text.decimals(fields, 0, 6, TIME_NULL, empty_is_null=False)
        good &= (since >= 0) & (since < _DAY)
        since[~good] = 0
        return _day_to_utc(self.place.date, since, self.zone), good

    def _complete(self, arrays: dict[str, Array]) -> None:
        """Add the columns that the lines do not have."""
        began = arrays["ts_event"]
        count = len(began)
        if self.schema.name == "trades":
            arrays["action"] = np.full(count, TRADE, np.uint8)
            arrays["side"] = np.full(count, NO_SIDE, np.uint8)
        elif self.schema.name == "bbo" and self.place.security_type == "equity":
            # LEAN's ticks of US equities are those that made the national best: of 1,079,366 quotes of AIG in a session
            # the last of either side are crossed in 0.02 %, and those of all exchanges together in 99.9 %.
            arrays[NATIONAL_BEST.name] = np.ones(count, np.uint8)
        elif self.schema.name == "statistics":
            arrays["stat_type"] = np.full(count, _OPEN_INTEREST, np.uint16)
        elif self.schema.interval_ns:
            arrays["ts_recv"] = _ends(began, self.schema, self.zone)


def _zone(source: Source, options: IngestOptions, place: Place) -> str:
    zone = options.tz or ("UTC" if place.security_type == "future" else _ZONES.get((place.security_type, place.market)))
    if zone is None:
        zone = options.needed("tz", source, f"the clock of LEAN's {place.security_type} at {place.market} is not known")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInputError(f"ingest {source.path}: tz={zone!r} is no zone; take one as America/New_York") from None
    return zone


def _null_absent_sides(arrays: dict[str, Array], layout: Layout, zero_is_absent: bool) -> None:
    """Make null the prices of sides that are absent (of equities, 0), and their sizes of 0."""
    for name, how in layout:
        if how is Read.QUOTE and zero_is_absent:
            prices = arrays[name]
            prices[prices == 0] = PRICE_NULL
        elif how is Read.SIDE_SIZE:
            # A side's prices come before its size in every layout, and are null by now.
            sizes = arrays[name]
            sizes[(sizes == 0) & (arrays[PRICE_OF_SIZE[name]] == PRICE_NULL)] = SIZE_NULL


def _wall_times(fields: text.Fields) -> tuple[Array, Array]:
    """Return (int64 ns of the wall clock since the epoch, which are good) of times like ``20131007 00:00``."""
    starts = fields.starts[:, 0].astype(np.int64)
    good = (fields.ends[:, 0] - starts == 14) & fields.sound
    letters = fields.data[np.minimum(starts[:, None] + np.arange(14), len(fields.data) - 1)]
    digits = letters[:, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13]].astype(np.int64) - 48
    good &= ((digits >= 0) & (digits <= 9)).all(axis=1) & (letters[:, 8] == 32) & (letters[:, 11] == 58)
    digits[~good] = 0
    year = digits[:, :4] @ np.array([1000, 100, 10, 1])
    month, day, hour, minute = (digits[:, at] * 10 + digits[:, at + 1] for at in (4, 6, 8, 10))
    good &= (year >= 1900) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60)
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    begin = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    length = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - begin
    good &= day <= length
    wall: Array = np.where(good, ((begin + day - 1) * 24 * 60 + hour * 60 + minute) * 60 * _NS, 0)
    return wall, good


def _wall_to_utc(wall: Array, zone: str) -> Array:
    """Return UTC of a wall clock's times on many days; the zone is asked once for each time that occurs."""
    times, where = np.unique(wall, return_inverse=True)
    clock = ZoneInfo(zone)
    epoch = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
    offsets = np.empty(len(times), np.int64)
    for at, time in enumerate(times.tolist()):
        offset: Any = (epoch + timedelta(seconds=time // _NS)).replace(tzinfo=clock).utcoffset()
        offsets[at] = (offset.days * 86_400 + offset.seconds) * _NS
    shifted: Array = wall - offsets[where]
    return shifted


def _day_to_utc(date: str, since: Array, zone: str) -> Array:
    """Return UTC of a wall clock's times on one day; see `text.local_to_utc`."""
    edges = text.local_to_utc(date, np.array([0, _DAY], np.int64), zone)
    if edges[1] - edges[0] == _DAY:
        moved: Array = since + edges[0]
        return moved
    return text.local_to_utc(date, since, zone)


def _ends(began: Array, schema: Schema, zone: str) -> Array:
    """Return the ends of bars; those of days end at the next midnight of the zone, 23 to 25 hours later."""
    if schema.interval_ns < _DAY:
        return began + schema.interval_ns
    clock = ZoneInfo(zone)
    times, where = np.unique(began, return_inverse=True)
    ends = np.empty(len(times), np.int64)
    for at, time in enumerate(times.tolist()):
        local = datetime.fromtimestamp(time // _NS, clock)
        ends[at] = int((local + timedelta(days=1)).timestamp()) * _NS
    found: Array = ends[where]
    return found
