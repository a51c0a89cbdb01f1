"""Daily bars of many symbols in one Parquet or CSV file, into `ohlcv-1d`.

The columns are exchange, symbol, date, open, high, low, close and volume, in any order and case; others are not taken.
The venue is the exchange as the file writes it.  A bar begins (`ts_event`) and ends (`ts_recv`, when it is known) with
its session: 09:30 and 16:00 in New York for the exchanges of the United States, also on the days that close early, so
that no bar is known too soon; elsewhere the file does not say the zone, which is asked for, and the bar is the whole
local day.

Values stay as they are, impossible ones too (open = 0, high < low): rules flag, they do not remove. NaN is null.

Invariants: the rows of a symbol stand in the file's order; a row's ordinal is its place among the rows that are stored.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.faults import Faults
from tickvault.market.feeds.gather import Gathered
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.stamps import wall_to_utc
from tickvault.market.feeds.tabular import PARQUET, Block, arrow_names, blocks, names_of
from tickvault.market.schema import PRICE_NULL, SCHEMAS, SIZE_NULL

_PRICES = ("open", "high", "low", "close")
_NEEDED = ("exchange", "symbol", "date", *_PRICES, "volume")
_ROW = np.dtype([("ordinal", "<i8"), ("day", "<i8"), *((name, "<i8") for name in (*_PRICES, "volume"))])
_US = frozenset(
    {
        *("NASDAQ", "NYSE", "AMEX", "ARCA", "NYSEARCA", "NYSEMKT", "NYSEAMERICAN", "BATS", "CBOE", "IEX", "OTC"),
        *("PINK", "XNAS", "XNYS", "XASE", "ARCX", "IEXG", "XNGS", "XNMS", "XNCM"),
    }
)
_MINUTE_NS = 60 * 1_000_000_000
_DAY_NS = 1440 * _MINUTE_NS
_OPEN_NS, _CLOSE_NS = (9 * 60 + 30) * _MINUTE_NS, 16 * 60 * _MINUTE_NS


def _ours(names: list[str]) -> dict[str, str]:
    """Return the file's column of each of ours that it has."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name.lower(), name)
    return {name: found[name] for name in _NEEDED if name in found}


class DailyFeed:
    """Daily bars with the exchange, the symbol and the date in each row."""

    name = "daily"

    def recognises(self, source: Source) -> bool:
        """Return whether it has all eight columns."""
        names = arrow_names(source) if source.head.startswith(PARQUET) else names_of(source.head)
        return len(_ours(names)) == len(_NEEDED)

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a source; see the module."""
        numbers: dict[tuple[str, str], int] = {}
        damage: IntegrityError | None = None
        sessions = _Sessions(source, options)
        row_count = stored = 0
        with Gathered(_ROW) as gathered:
            try:
                for block in blocks(source):
                    series, faults, rows = _rows(source, block, numbers)
                    yield Counted(block.rows)
                    for row, reason in faults.reasons():
                        yield Quarantined(row_count + row, reason, block.raw(row))
                    row_count += block.rows
                    if block.cut_off:
                        yield Quarantined(row_count, "the last line is cut off", block.cut_off)
                    kept = rows[faults.good]
                    kept["ordinal"] = np.arange(stored, stored + len(kept))
                    stored += len(kept)
                    sessions.add(kept["day"])
                    gathered.add(series[faults.good], kept)
            except IntegrityError as error:
                damage = error
            keys = list(numbers)
            for number, rows in gathered.series():
                yield _bars(*keys[number], rows, sessions)
        if damage is not None:
            raise damage


def _rows(source: Source, block: Block, numbers: dict[tuple[str, str], int]) -> tuple[Array, Faults, Array]:
    names = _ours(block.names)
    if len(names) < len(_NEEDED):
        raise InvalidInputError(
            f"ingest {source.path}: daily bars need the columns {', '.join(_NEEDED)}; found {', '.join(block.names)}"
        )
    faults = Faults(block.sound)
    rows = np.zeros(block.rows, _ROW)
    for name in _PRICES:
        rows[name], right = block.numbers(names[name], 9, PRICE_NULL)
        faults.unless(right, f"its {name} is no price that can be kept")
    rows["volume"], right = block.wholes(names["volume"], SIZE_NULL)
    faults.unless(right, "its volume is no whole number")
    rows["day"], right = block.days(names["date"])
    faults.unless(right, "its date cannot be read")
    exchange, exchanges = block.words(names["exchange"])
    symbol, symbols = block.words(names["symbol"])
    faults.unless((exchange >= 0) & (symbol >= 0), "it has no exchange or no symbol")
    pairs, inverse = np.unique(exchange.astype(np.int64) * (len(symbols) + 1) + symbol, return_inverse=True)
    # Numbered as they come, not as their codes are.
    first = np.full(len(pairs), block.rows, np.int64)
    np.minimum.at(first, inverse.reshape(-1), np.arange(block.rows))
    number_of = np.zeros(len(pairs), np.int64)
    for at in np.argsort(first).tolist():
        row = int(first[at])
        if exchange[row] >= 0 and symbol[row] >= 0:
            number_of[at] = numbers.setdefault((exchanges[exchange[row]], symbols[symbol[row]]), len(numbers))
    return number_of[inverse.reshape(-1)], faults, rows


class _Sessions:
    """When each day's session begins and ends, at each exchange."""

    def __init__(self, source: Source, options: IngestOptions) -> None:
        self._source, self._options = source, options
        self._days = np.empty(0, np.int64)
        self._known: dict[tuple[str, int, int], tuple[Array, Array]] = {}

    def add(self, days: Array) -> None:
        """Take days that bars are of."""
        self._days = np.union1d(self._days, days)
        self._known = {}

    def bounds(self, exchange: str, days: Array) -> tuple[Array, Array]:
        """Return (begin, end) of each day's session, int64 ns UTC."""
        session = ("America/New_York", _OPEN_NS, _CLOSE_NS)
        if exchange.upper().replace(" ", "") not in _US:
            why = f"it does not say the zone of {exchange}'s days"
            session = (self._options.needed("tz", self._source, why), 0, _DAY_NS)
        if session not in self._known:
            zone, begin, end = session
            midnights = self._days * _DAY_NS
            try:
                self._known[session] = wall_to_utc(midnights + begin, zone), wall_to_utc(midnights + end, zone)
            except (ValueError, KeyError, OSError) as error:
                raise InvalidInputError(f"ingest {self._source.path}: tz={zone!r} is no zone ({error})") from error
        begins, ends = self._known[session]
        at = np.searchsorted(self._days, days)
        return begins[at], ends[at]


def _bars(venue: str, symbol: str, rows: Array, sessions: _Sessions) -> Piece:
    begins, ends = sessions.bounds(venue, rows["day"])
    arrays = {name: np.ascontiguousarray(rows[name]) for name in (*_PRICES, "volume")}
    arrays |= {"ts_event": begins, "ts_recv": ends}
    return Piece(venue, symbol, Columns(SCHEMAS["ohlcv-1d"], arrays), np.ascontiguousarray(rows["ordinal"]))
