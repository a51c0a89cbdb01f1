"""DBN records as databento_dbn reads them, to compare columns with."""

from __future__ import annotations

from typing import Any

import databento_dbn as dbn

from tickvault.market.columns import Columns
from tickvault.market.schema import CODE_NULL, SIZE_NULL, TIME_NULL, Kind


def field_of(record: Any, name: str) -> Any:
    """Return a column's value as the package has it."""
    if name == "status_action":
        name = "action"
    if name[:4] in {"bid_", "ask_"}:
        return getattr(record.levels[int(name[-2:])], name[:-3])
    return getattr(record, name)


def expected(record: Any, columns: Columns, name: str) -> Any:
    """Return what our column should hold, as a text where it is of letters."""
    column = columns.column(name)
    if name == "ts_recv" and columns.schema.interval_ns:
        return record.ts_event + columns.schema.interval_ns
    value = field_of(record, name)
    if name[:3] == "is_":
        return {True: "Y", False: "N", None: "~"}[value]
    if column.kind is Kind.CHAR:
        return str(getattr(value, "value", value))
    if column.kind is Kind.CODE:
        return value or None
    if column.kind is Kind.TIME:
        return TIME_NULL if value == dbn.UNDEF_TIMESTAMP else value
    if column.kind is Kind.SIZE:
        if name[3:6] == "_sz" and field_of(record, name.replace("_sz_", "_px_")) == dbn.UNDEF_PRICE and not value:
            return SIZE_NULL
        small = type(record).__name__ == "StatMsgV1"
        undefined = {2**31 - 1} if small else {dbn.UNDEF_STAT_QUANTITY}
        if name in {"size"} or name[3:6] == "_sz":
            undefined = {dbn.UNDEF_ORDER_SIZE}
        return SIZE_NULL if value in undefined else value
    if name[3:6] in {"_ct", "_pb"} and field_of(record, f"{name[:4]}px{name[6:]}") == dbn.UNDEF_PRICE and not value:
        return column.null
    return int(getattr(value, "value", value))


def ours(columns: Columns, name: str) -> list[Any]:
    values = columns[name].tolist()
    kind = columns.column(name).kind
    if kind is Kind.CHAR:
        return [chr(value) for value in values]
    if kind is Kind.CODE:
        return [None if value == CODE_NULL else columns.dictionaries[name][value] for value in values]
    return values


def assert_same(columns: Columns, records: list[Any]) -> None:
    """Compare every column of every row with the package's reading."""
    assert len(columns) == len(records)
    for name in columns.arrays:
        assert ours(columns, name) == [expected(record, columns, name) for record in records], name
