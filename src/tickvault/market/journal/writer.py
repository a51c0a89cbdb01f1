"""A writer: one series, one row or a batch at a time, at the lowest latency.

Invariants: when `append` returns, the rows are as durable as the library's bucket promises, and readers and subscribers
see them; a row that cannot be stored raises, and nothing of it is there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from tickvault.errors import ClosedError, InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.frames import Scales, check_scale, check_text, columns_of, declared_columns, scalar, tells_scales
from tickvault.market.journal.appender import SeriesJournal
from tickvault.market.journal.format import FrameKind, Layout, frame
from tickvault.market.journal.locked import Appended
from tickvault.market.journal.state import FAILED, Extent
from tickvault.market.schema import CODE_NULL, Column, Kind, Schema

_FORMATS = {"|u1": "B", "|i1": "b", "<u2": "H", "<i2": "h", "<u4": "I", "<i4": "i", "<u8": "Q", "<i8": "q"}
_SPARE = 64 * 1024


class _Plan(NamedTuple):
    """How rows of one set of columns are packed."""

    layout: Layout
    pack: Callable[..., bytes]
    codes: tuple[tuple[int, str], ...]
    """Place and name of each column of codes."""
    columns: tuple[Column, ...]


class Writer:
    """Appends to one series. Get it with ``library.writer(symbol, schema)``; a context manager, or `close` it."""

    def __init__(
        self,
        journal: SeriesJournal,
        schema: Schema,
        append_many: Callable[[Columns], Appended],
        extensions: Mapping[str, str] | None,
        scales: Scales,
        check: Callable[[Columns], None],
    ) -> None:
        self.key = journal.key
        self.schema = schema
        self._journal = journal
        self._append_many = append_many
        self._check = check
        self._extensions = dict(extensions or {})
        self._declared = declared_columns(extensions, schema, f"writer {journal.key}")
        for name, scale in zip(("size_scale", "turnover_scale"), scales, strict=True):
            check_scale(scale, name, f"writer {journal.key}")
        self._scales = scales
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._open = True

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the writer."""
        self.close()

    def __repr__(self) -> str:
        """Show the series."""
        return f"<Writer {self.key}>"

    def close(self) -> None:
        """Take no more rows; those appended are where they are."""
        self._open = False

    def append(self, data: Any = None, /, **row: Any) -> Appended:
        """Append a row, or rows.

        Parameters
        ----------
        data : Table, Columns, frame or mapping of arrays, optional
            Rows; see `Library.append`.
        **row
            One row by column: ``append(ts_recv=now, price=4750.25, size=3, side="B")``. An int is taken as it is stored
            (ns, 1e-9, units of the scale), a float as the number that it is.

        Returns
        -------
        Appended
            The sequence of the first row, how many there are, and their commit time.

        Raises
        ------
        InvalidInputError
            A column is unknown or a value does not fit.
        PoisonedError
            A sync failed.
        """
        if not self._open:
            raise ClosedError(f"append {self.key}: the writer was closed; ask the library for another")
        if data is not None:
            scales = None if tells_scales(data) else self._scales
            columns = columns_of(data, self.schema, self._extensions, f"append {self.key}", scales)
            return self._append_many(columns)
        names = tuple(row)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plans[names] = self._planned(names)
        values = list(row.values())
        size_scale, turnover_scale = self._scales
        for place, value in enumerate(values):
            if type(value) is not int:
                column = plan.columns[place]
                if column.kind is not Kind.CODE:
                    values[place] = scalar(column, value, size_scale, turnover_scale)
        return self._append_row(plan, values)

    def _planned(self, names: tuple[str, ...]) -> _Plan:
        columns = []
        for name in names:
            column = self.schema.column(name) or self._declared.get(name)
            if column is None:
                known = ", ".join([each.name for each in self.schema.columns] + list(self._declared))
                raise InvalidInputError(
                    f"append {self.key}: {self.schema.name} has no column {name!r}; it has {known}; declare another "
                    f'with writer(…, extensions={{"{name}": "price"}})'
                )
            columns.append(column)
        if not {"ts_event", "ts_recv"} & set(names):
            raise InvalidInputError(f"append {self.key}: a row needs ts_event or ts_recv")
        layout = Layout(tuple(columns), *self._scales)
        form = "<" + "".join(_FORMATS[column.dtype.str] for column in columns)
        codes = tuple((place, column.name) for place, column in enumerate(columns) if column.kind is Kind.CODE)
        return _Plan(layout, struct.Struct(form).pack, codes, layout.columns)

    def _append_row(self, plan: _Plan, values: list[Any]) -> Appended:
        journal = self._journal
        with journal.mutex:
            try:
                extent = journal.enter()
                appended = self._fast(plan, values, extent) or self._slow(plan, values, extent)
            finally:
                journal.leave()
            journal.state.wake()
        if journal.rolled:
            journal.tell_roll()
        return appended

    def _fast(self, plan: _Plan, values: list[Any], extent: Extent) -> Appended | None:
        """Append with a frame of its own; None where the file lacks a layout, a word or room."""
        journal = self._journal
        if extent.flags & FAILED or extent.base < 0:
            return None
        journal.catch_up(extent)
        layout_id = journal.layout_ids.get(plan.layout)
        if layout_id is None or extent.end + _SPARE > journal.size or journal.finest != self._scales:
            return None
        if plan.codes:
            values = values.copy()
            for place, name in plan.codes:
                word = values[place]
                code = CODE_NULL if word is None else journal.words.get(name, {}).get(word)
                if code is None:
                    return None
                values[place] = code
        try:
            payload = plan.pack(*values)
        except struct.error as error:
            raise InvalidInputError(f"append {self.key}: {_misfit(plan, values)} ({error})") from None
        stamp = journal.stamp_after(extent)
        piece = frame(
            FrameKind.ROWS,
            layout_id,
            1,
            extent.next_sequence,
            stamp,
            payload,
            journal.seed,
            strict=journal.place.is_strict(),
        )
        journal.put(extent, [piece], len(piece), 1, stamp)
        return Appended(extent.next_sequence, 1, stamp)

    def _slow(self, plan: _Plan, values: list[Any], extent: Extent) -> Appended:
        """Append as a batch of one, which brings along what the file lacks, and fits the series."""
        arrays, words = {}, {}
        for column, value in zip(plan.columns, values, strict=True):
            if column.kind is Kind.CODE:
                words[column.name] = [] if value is None else [_text(self.key, column, value)]
                arrays[column.name] = np.array([CODE_NULL if value is None else 0], np.int32)
            else:
                arrays[column.name] = _array(plan, column, value, values, self.key)
        size_scale, turnover_scale = self._scales
        columns = Columns(
            self.schema,
            arrays,
            words,
            plan.layout.extensions(self.schema),
            size_scale=size_scale,
            turnover_scale=turnover_scale,
        )
        self._check(columns)
        return self._journal.write(extent, columns)[0]


def _text(key: object, column: Column, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"append {key}: column {column.name}: {value!r} is no text")
    check_text(value, f"append {key}: column {column.name}")
    return value


def _array(plan: _Plan, column: Column, value: Any, values: list[Any], key: object) -> np.ndarray[Any, np.dtype[Any]]:
    limits = np.iinfo(column.dtype)
    if not limits.min <= value <= limits.max:
        raise InvalidInputError(f"append {key}: {_misfit(plan, values)}")
    return np.array([value], column.dtype)


def _misfit(plan: _Plan, values: list[Any]) -> str:
    for column, value in zip(plan.columns, values, strict=True):
        limits = np.iinfo(column.dtype)
        if not isinstance(value, int) or not limits.min <= value <= limits.max:
            return f"column {column.name}: {value!r} does not fit {column.dtype}"
    return "a value does not fit"
