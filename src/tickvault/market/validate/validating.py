"""Validation: rules run on rows.

Invariants: the table is not changed; a report says of each rule that was asked for what it found, or why it was not
checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.reference.calendars import Calendar, calendar_named, calendar_of
from tickvault.market.reference.facts import Instrument
from tickvault.market.schema import CHAR_NULL, PRICE_NULL, PRICE_SCALE, TIME_NULL, Kind
from tickvault.market.table import Table
from tickvault.market.times import text_of
from tickvault.market.validate.report import QualityReport, RuleResult
from tickvault.market.validate.rule import Found, Limits, NotChecked, Rows, Rule, rules_of


def validate(
    table: Table,
    rules: Iterable[str | Rule] | None = None,
    *,
    calendar: Calendar | str | Literal[False] | None = None,
    limits: Limits | None = None,
    instrument: Instrument | None = None,
) -> QualityReport:
    """Run rules on rows, and report what they flag.

    Parameters
    ----------
    table : Table
    rules : iterable of str or Rule, optional
        By default all that are for the schema; see `RULES`.
    calendar : Calendar or str, optional
        By default the instrument's, else that of the table's venue; False: none, and what needs one is not checked.
    limits : Limits, optional
        What the rules compare with.
    instrument : Instrument, optional
        Tells the tick size and the calendar, where they are not given otherwise.

    Raises
    ------
    NotFoundError
        There is no such rule.
    InvalidInputError
        A rule that is asked for is not for the schema, or there is no such calendar.

    Examples
    --------
    ::

        report = validate(ticks.read("AIG", "bbo"))
        print(report)                      # counts
        report["crossed"].rows             # positions of all rows flagged
    """
    bounds = limits or Limits()
    if instrument is not None and bounds.tick_size is None and instrument.tick_size != PRICE_NULL:
        bounds = replace(bounds, tick_size=instrument.tick_size)
    if bounds.tick_size is not None and bounds.tick_size <= 0:
        raise InvalidInputError(f"validate: tick_size must be above 0, was {bounds.tick_size}")
    chosen = rules_of(table.schema, rules)
    known, reason = _calendar(table, calendar, instrument)
    rows = Rows(table, bounds, known, reason)
    results = tuple(_result(rule, rows) for rule in chosen)
    times = table["ts_index"]
    told = times[times != TIME_NULL]
    return QualityReport(
        table.venue,
        table.symbol,
        table.schema.name,
        len(table),
        int(told.min()) if len(told) else None,
        int(told.max()) if len(told) else None,
        results,
    )


def _calendar(
    table: Table, calendar: Calendar | str | Literal[False] | None, instrument: Instrument | None
) -> tuple[Calendar | None, str]:
    """Return the calendar, or None and why there is none."""
    if calendar is False:
        return None, "no calendar is wanted"
    if isinstance(calendar, str):
        return calendar_named(calendar), ""
    if calendar is not None:
        return calendar, ""
    try:
        if instrument is not None and instrument.calendar:
            return calendar_named(instrument.calendar), ""
        if not table.venue:
            return None, "the rows do not say their venue; give calendar="
        return calendar_of(table.venue), ""
    except InvalidInputError as error:
        return None, str(error)


def _result(rule: Rule, rows: Rows) -> RuleResult:
    try:
        found = rule.find(rows)
    except NotChecked as why:
        return RuleResult(rule.name, rule.severity, rule.about, checked=False, note=str(why))
    flagged, note = found if isinstance(found, Found) else (found, "")
    at = _positions(rule, rows, flagged)
    times = rows["ts_index"][at]
    return RuleResult(
        rule.name,
        str(rule.severity),
        rule.about,
        count=len(at),
        share=len(at) / len(rows) if len(rows) else 0.0,
        first_ns=int(times[0]) if len(at) and times[0] != TIME_NULL else None,
        last_ns=int(times[-1]) if len(at) and times[-1] != TIME_NULL else None,
        note=note,
        examples=tuple(_example(rows, rule, row) for row in at[: rows.limits.examples].tolist()),
        rows=at,
    )


def _positions(rule: Rule, rows: Rows, flagged: Array) -> Array:
    array = np.asarray(flagged)
    if array.dtype == np.bool_:
        if array.shape != (len(rows),):
            raise InvalidInputError(
                f"rule {rule.name}: its mask has the shape {array.shape}, and there are {len(rows)} rows"
            )
        return np.flatnonzero(array)
    at = np.unique(array.astype(np.int64))
    if len(at) and not 0 <= int(at[0]) <= int(at[-1]) < len(rows):
        raise InvalidInputError(f"rule {rule.name}: it flags row {int(at[-1])}, and there are {len(rows)} rows")
    return at


def _example(rows: Rows, rule: Rule, row: int) -> dict[str, Any]:
    names = [name for name in ("ts_event", "ts_recv", "symbol", *rule.columns) if name in rows.table]
    return {"row": row, **{name: _shown(rows.table, name, row) for name in dict.fromkeys(names)}}


def _shown(table: Table, name: str, row: int) -> Any:
    """Return a value as people write it; None for null."""
    column = table.column(name)
    value = int(table[name][row])
    if value == column.null and column.kind is not Kind.FLAGS:
        return None
    if column.kind is Kind.TIME:
        return text_of(value)
    if column.kind is Kind.PRICE:
        return value / PRICE_SCALE
    if column.kind is Kind.SIZE:
        return value / table.size_scale
    if column.kind is Kind.CODE:
        return table.strings(name)[value]
    if column.kind is Kind.CHAR:
        return chr(value) if value != CHAR_NULL else None
    return value
