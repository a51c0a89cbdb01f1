"""Adjustment: prices and sizes of before a split or a dividend, in the shares of another day.

For a split of n new shares for m old ones, a price before the ex-date is multiplied by m / n and a size by n / m. For a
dividend of D per share, with C the close of the last session before the ex-date, a price before it is multiplied by

    1 - D / C

and sizes stay: the multiplier of CRSP's convention, as Yahoo explains it (https://help.yahoo.com/kb/SLN28256.html) and
as Databento's adjustment factors and LEAN's factor files have it. Dividends of one ex-date are added up first:
1 - (D1 + D2) / C. On a day that is both, D and C are of the old shares. The factors of all ex-dates up to the day `on`
are multiplied; rows after `on` are divided by those in between, so that every row is in the shares of `on`.

Invariants: a factor is a ratio of whole numbers, never a float; a number is multiplied once, by the product of its
factors, and rounded once, half to even, to the unit it is stored in (1e-9 of a price, 1 / `size_scale` of a size); a
null stays one; what does not fit raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.reference.days import day_of
from tickvault.market.reference.facts import Action
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, SIZE_NULL, TIME_NULL, Kind
from tickvault.market.table import Table
from tickvault.market.times import to_ns

#: Told an action, gives the close of the last session before its ex-date, in units of 1e-9.
Closes = Callable[[Action], int]
_NUMERATOR_MAX = 2**30
_ADJUSTABLE = ("mbo", "mbp", "trades", "bbo", "ohlcv", "ohlcq")


class _Ratios(NamedTuple):
    """The factors of one symbol's rows."""

    bounds: Array
    """int64 ns, ascending: the begin of each ex-date; shape (n,)."""
    prices: list[Fraction]
    """By segment: before the first bound, between the first two, …; length n + 1."""
    sizes: list[Fraction]


def adjust(
    table: Table,
    actions: Iterable[Action],
    *,
    kind: Literal["split", "total"] = "split",
    on: Any,
    closes: Closes | None = None,
    tz: str | None = None,
) -> Table:
    """Return the rows in the shares of a day.

    Parameters
    ----------
    table : Table
        Raw, of one series or of several; of prices and sizes, not of definitions or statistics.
    actions : iterable of Action
        As `Reference.actions` gives them. All that happened between the first row and `on` should be there, and only
        those that were known should (`known_at`).
    kind : {"split", "total"}
        Splits only, or dividends too.
    on : day
        The day whose shares the numbers are of; the table's `adjusted_on`.
    closes : callable, optional
        Gives the close before a dividend's ex-date where the action does not tell it. Without it, daily bars
        (``ohlcv-1d``) give it themselves.
    tz : str, optional
        Zone whose midnight begins an ex-date; by default that of the venue's calendar.

    Returns
    -------
    Table
        With `adjustment` and `adjusted_on` set; the rows, their order and the other columns are the same.

    Raises
    ------
    InvalidInputError
        The table is adjusted already, or its schema has nothing to adjust; an action is of a symbol that is not in the
        table; a close is not known, or a dividend is not less than it; a number does not fit 63 bits.
    """
    day = day_of(on, "on")
    if table.adjustment != "raw":
        raise InvalidInputError(
            f"adjust {_name(table)}: it is adjusted already ({table.adjustment}, on {table.adjusted_on}); adjust the "
            "rows as they were read"
        )
    if kind not in ("split", "total"):
        raise InvalidInputError(f"adjust {_name(table)}: kind must be 'split' or 'total', was {kind!r}")
    if not table.schema.name.startswith(_ADJUSTABLE):
        raise InvalidInputError(f"adjust {_name(table)}: {table.schema.name} has no prices of shares")
    wanted = [action for action in actions if kind == "total" or action.kind == "split"]
    columns = table.to_columns()
    groups = _groups(table, columns, wanted)
    zone = _zone(table, tz) if wanted else ZoneInfo("UTC")
    times = _event_times(columns)
    ratios = []
    for mine, rows in groups:
        known = _Closes(table, columns, times, rows, closes)
        ratios.append((rows, _ratios(mine, day, zone, known)))
    made = Table.of(_adjusted(columns, times, ratios), table.venue, table.symbol)
    made.adjustment, made.adjusted_on = kind, day
    return made


def _name(table: Table) -> str:
    return f"{table.venue}/{table.symbol}/{table.schema.name}" if table.symbol else table.schema.name


def _groups(table: Table, columns: Columns, actions: Sequence[Action]) -> list[tuple[list[Action], slice | Array]]:
    """Return the actions and the rows of each symbol that has actions."""
    if "symbol" in columns.arrays:
        codes, words = columns.arrays["symbol"], columns.dictionaries["symbol"]
        present = set(words)
    elif table.symbol:
        present = {table.symbol}
    else:
        present = {action.symbol for action in actions}
        if len(present) > 1:
            raise InvalidInputError(
                f"adjust {_name(table)}: the rows do not say their symbol, and the actions are of "
                f"{', '.join(sorted(present))}; give the actions of one"
            )
    strange = sorted({action.symbol for action in actions} - present)
    if strange:
        raise InvalidInputError(
            f"adjust {_name(table)}: actions of {', '.join(strange)}, and the rows are of {', '.join(sorted(present))}"
            "; Reference.actions(symbol, …) gives those of one symbol, under its older names too"
        )
    by_symbol: dict[str, list[Action]] = {}
    for action in actions:
        by_symbol.setdefault(action.symbol, []).append(action)
    if "symbol" not in columns.arrays:
        return [(mine, slice(None)) for mine in by_symbol.values()]
    return [(mine, np.flatnonzero(codes == words.index(symbol))) for symbol, mine in by_symbol.items()]


def _zone(table: Table, tz: str | None) -> ZoneInfo:
    if tz is None:
        from tickvault.market.reference.calendars import calendar_of

        tz = calendar_of(table.venue).tz
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInputError(f"adjust {_name(table)}: tz={tz!r} is no zone; take one as America/New_York") from None


def _event_times(columns: Columns) -> Array:
    """Return when rows happened: of a bar its begin, since its end may be the midnight that begins an ex-date."""
    happened = columns.arrays.get("ts_event")
    if happened is None:
        return columns.ts_index
    return np.where(happened == TIME_NULL, columns.ts_index, happened)


class _Closes:
    """Finds the close before a dividend's ex-date."""

    def __init__(self, table: Table, columns: Columns, times: Array, rows: slice | Array, given: Closes | None) -> None:
        self._given = given
        self._bars: tuple[Array, Array] | None = None
        if table.schema.name == "ohlcv-1d":
            mine, closes = times[rows], columns["close"][rows]
            sound = (closes != PRICE_NULL) & (closes > 0) & (mine != TIME_NULL)
            order = np.argsort(mine[sound], kind="stable")
            self._bars = mine[sound][order], closes[sound][order]

    def of(self, action: Action, begin_ns: int) -> int:
        """Return it; null where the day is before all rows, so that no row needs it."""
        if action.close != PRICE_NULL:
            return action.close
        if self._given is not None:
            return int(self._given(action))
        if self._bars is None:
            raise InvalidInputError(
                f"adjust: {action!r} does not tell the close of the day before; give closes=, a function of the action"
            )
        times, closes = self._bars
        before = int(np.searchsorted(times, begin_ns, "left")) - 1
        return PRICE_NULL if before < 0 else int(closes[before])


def _ratios(actions: Sequence[Action], on: str, zone: ZoneInfo, closes: _Closes) -> _Ratios:
    days = sorted({action.ex_day for action in actions})
    bounds = [to_ns(f"{day}T00:00:00{_offset(day, zone)}") for day in days]
    steps = []
    for day, begin in zip(days, bounds, strict=True):
        steps.append(_step([action for action in actions if action.ex_day == day], begin, closes))
    prices, sizes = [Fraction(1)], [Fraction(1)]
    for price, size in reversed(steps):
        prices.append(prices[-1] * price)
        sizes.append(sizes[-1] * size)
    prices.reverse()
    sizes.reverse()
    base = sum(day <= on for day in days)
    return _Ratios(
        np.array(bounds, np.int64),
        [factor / prices[base] for factor in prices],
        [factor / sizes[base] for factor in sizes],
    )


def _offset(day: str, zone: ZoneInfo) -> str:
    import datetime

    midnight = datetime.datetime.fromisoformat(day).replace(tzinfo=zone)
    return midnight.isoformat()[19:]


def _step(actions: Sequence[Action], begin_ns: int, closes: _Closes) -> tuple[Fraction, Fraction]:
    """Return what one ex-date does to prices and to sizes before it."""
    price, size = Fraction(1), Fraction(1)
    paid: Fraction | None = None
    for action in actions:
        if action.kind == "split":
            if action.numerator < 1 or action.denominator < 1:
                raise InvalidInputError(f"adjust: {action!r}: both numbers must be above 0")
            price /= action.split
            size *= action.split
            continue
        close = closes.of(action, begin_ns)
        if close == PRICE_NULL:
            continue  # before all rows
        if not 0 <= action.amount < close:
            raise InvalidInputError(
                f"adjust: {action!r} is not from 0 to less than the close before, {close / PRICE_SCALE:g}"
            )
        paid = (paid or Fraction(0)) + Fraction(action.amount, close)
    if paid is not None:
        if paid >= 1:
            raise InvalidInputError(f"adjust: the dividends of {actions[0].ex_day} are not less than the close before")
        price *= 1 - paid
    return price, size


def _adjusted(columns: Columns, times: Array, ratios: Sequence[tuple[slice | Array, _Ratios]]) -> Columns:
    arrays = dict(columns.arrays)
    changed = [
        (name, columns.column(name).kind)
        for name in arrays
        if columns.column(name).kind in (Kind.PRICE, Kind.SIZE) and ratios
    ]
    segments = [(rows, np.searchsorted(each.bounds, times[rows], "right")) for rows, each in ratios]
    for name, kind in changed:
        out = arrays[name].copy()
        for (rows, segment), (_, each) in zip(segments, ratios, strict=True):
            factors = each.prices if kind is Kind.PRICE else each.sizes
            null = PRICE_NULL if kind is Kind.PRICE else SIZE_NULL
            out[rows] = _scaled(out[rows], segment, factors, null, name)
        arrays[name] = out
    return Columns(
        columns.schema,
        arrays,
        columns.dictionaries,
        columns.extensions,
        size_scale=columns.size_scale,
        turnover_scale=columns.turnover_scale,
    )


def _scaled(values: Array, segments: Array, factors: Sequence[Fraction], null: int, name: str) -> Array:
    from tickvault.market.reference.kernels import scale_by

    small = [max(factor.numerator, factor.denominator) < _NUMERATOR_MAX for factor in factors]
    # Ratios of small numbers are multiplied in 63 bits, the others one different value at a time, without a limit.
    quick = [factor if fits else Fraction(1) for factor, fits in zip(factors, small, strict=True)]
    out = np.empty(len(values), np.int64)
    wrong = scale_by(
        values,
        segments.astype(np.int64),
        np.array([factor.numerator for factor in quick], np.int64),
        np.array([factor.denominator for factor in quick], np.int64),
        np.int64(null),
        out,
    )
    if wrong >= 0:
        raise InvalidInputError(
            f"adjust: {name} {int(values[wrong])} of row {int(wrong)} does not fit 63 bits adjusted"
        )
    for segment, fits in enumerate(small):
        if not fits:
            rows = np.flatnonzero(segments == segment)
            out[rows] = _one_by_one(values[rows], factors[segment], null, name)
    return out


def _one_by_one(values: Array, factor: Fraction, null: int, name: str) -> Array:
    different, inverse = np.unique(values, return_inverse=True)
    made = []
    for value in different.tolist():
        made.append(null if value == null else round(value * factor))
        if value == null or abs(made[-1]) < PRICE_NULL:
            continue
        raise InvalidInputError(f"adjust: a {name} does not fit 63 bits adjusted")
    return np.array(made, np.int64)[inverse.reshape(-1)] if made else np.empty(0, np.int64)
