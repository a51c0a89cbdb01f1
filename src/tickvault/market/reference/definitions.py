"""Instruments by the definitions that a venue publishes: rows of schema `definition`.

Invariants: a definition holds from its activation, else from the day it was published, to its expiration; it is known
from when it was published (`ts_index`).
"""

from __future__ import annotations

from typing import Any

from tickvault.errors import InvalidInputError
from tickvault.market.reference.days import FOREVER, next_day, text_of_day
from tickvault.market.reference.facts import Fact, Instrument
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, TIME_NULL, Kind
from tickvault.market.table import Table

_DAY_NS = 86_400 * 1_000_000_000


def instruments_of(table: Table) -> list[Fact]:
    """Return the instruments that definitions tell, in the order of the rows; the last of a symbol counts.

    Parameters
    ----------
    table : Table
        Of schema `definition`; of one series or of several.

    Raises
    ------
    InvalidInputError
        It is of another schema.
    """
    if table.schema.name != "definition":
        raise InvalidInputError(f"instruments are read from definitions, and the rows are of {table.schema.name}")
    columns = {name: _values(table, name) for name in _NAMES}
    if "symbol" in table:
        columns["symbol"] = _values(table, "symbol")
    published = table["ts_index"].tolist()
    return [
        _instrument({name: values[row] for name, values in columns.items()}, published[row], table)
        for row in range(len(table))
    ]


_NAMES = (
    *("raw_symbol", "asset", "currency", "underlying", "instrument_class", "security_update_action"),
    *("activation", "expiration", "min_price_increment", "contract_multiplier", "unit_of_measure_qty"),
    *("strike_price", "instrument_id"),
)


def _values(table: Table, name: str) -> list[Any]:
    """Return a column as Python has it: texts, and None for null."""
    column, numbers = table.column(name), table[name].tolist()
    if column.kind is Kind.CODE:
        words = table.strings(name)
        return [words[code] if code >= 0 else "" for code in numbers]
    if column.kind is Kind.CHAR:
        return [chr(code) if code else "" for code in numbers]
    return [None if number == column.null else number for number in numbers]


def _instrument(row: dict[str, Any], published: int, table: Table) -> Instrument:
    activation, expiration = row["activation"], row["expiration"]
    begin = text_of_day((published if activation is None else min(activation, published)) // _DAY_NS)
    contracts, unit = row["contract_multiplier"], row["unit_of_measure_qty"]
    # Futures tell what a contract is of by its unit of measure, and leave the multiplier null or 0.
    multiplier = contracts * PRICE_SCALE if contracts else unit or PRICE_NULL
    return Instrument(
        table.venue,
        row["raw_symbol"] or table.symbol or row.get("symbol", ""),
        begin,
        FOREVER if expiration is None else next_day(text_of_day(expiration // _DAY_NS)),
        row["instrument_class"],
        row["min_price_increment"] or PRICE_NULL,
        multiplier,
        row["currency"],
        "",
        1,
        TIME_NULL if expiration is None else expiration,
        row["asset"],
        row["underlying"],
        PRICE_NULL if row["strike_price"] is None else row["strike_price"],
        row["instrument_id"] or 0,
        published,
        row["security_update_action"] == "D",
    )
