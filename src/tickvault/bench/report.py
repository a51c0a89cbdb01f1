"""The report of a benchmark: a row for each promise, the limit beside it, and whether it was kept.

Invariants: `p50` and `p99` are always microseconds; `rate` is operations per second in a row of unit ``us``,
and in any other row the figure itself, in `unit`; `limit` is in `unit`, was measured in the same run, and is
None where there is none; `met` is None when the row has no goal or a figure that the goal needs could not be
measured, and False when any operation failed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tickvault.bench.rounds import Sample

Figure = Literal["p50", "p99", "rate", "ratio", "above_limit"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One half-sentence of a goal: a figure, and its lowest or highest good value."""

    figure: Figure
    minimum: float | None = None
    maximum: float | None = None

    def holds(self, row: Row) -> bool | None:
        """Return whether the row keeps it; None if the figure is missing."""
        value = row.p50_above_limit if self.figure == "above_limit" else getattr(row, self.figure)
        if value is None:
            return None
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def words(self, unit: str) -> str:
        """Say the condition in words, for a row of that unit."""
        sign, bound = ("≥", self.minimum) if self.minimum is not None else ("≤", self.maximum)
        assert bound is not None
        if self.figure == "ratio":
            return f"{sign} {bound:g} × limit"
        if self.figure == "above_limit":
            return f"p50 {sign} limit + {bound:g} µs"
        if self.figure == "rate":
            return f"{sign} {bound:,.0f}{'/s' if unit == 'us' else ' ' + unit}"
        return f"{self.figure} {sign} {bound:,g} µs"


def at_most(figure: Figure, maximum: float) -> Condition:
    """Return the condition that a figure is at most a value."""
    return Condition(figure, maximum=maximum)


def at_least(figure: Figure, minimum: float) -> Condition:
    """Return the condition that a figure is at least a value."""
    return Condition(figure, minimum=minimum)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing."""

    name: str
    unit: str
    p50: float | None = None
    p99: float | None = None
    rate: float | None = None
    limit: float | None = None
    compared: Literal["p50", "p99", "rate"] = "p50"
    """Which figure stands over the limit in `ratio`."""
    conditions: tuple[Condition, ...] = ()
    error_count: int = 0

    @property
    def ratio(self) -> float | None:
        """The compared figure divided by the limit."""
        value: float | None = getattr(self, self.compared)
        return value / self.limit if value is not None and self.limit else None

    @property
    def p50_above_limit(self) -> float | None:
        """What the median adds to the limit, in µs."""
        return self.p50 - self.limit if self.p50 is not None and self.limit is not None else None

    @property
    def goal(self) -> str:
        """The goal in words; empty for a row that only informs."""
        return ", ".join(condition.words(self.unit) for condition in self.conditions)

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached."""
        if self.error_count:
            return False
        verdicts = [condition.holds(self) for condition in self.conditions]
        if False in verdicts:
            return False
        return None if not verdicts or None in verdicts else True

    def as_json(self) -> dict[str, Any]:
        """Return the row of the ``--json`` form."""
        return {
            "name": self.name,
            "p50": _rounded(self.p50),
            "p99": _rounded(self.p99),
            "rate": _rounded(self.rate),
            "unit": self.unit,
            "limit": _rounded(self.limit),
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "met": self.met,
        }


def row_of(
    name: str,
    sample: Sample,
    *conditions: Condition,
    unit: str = "us",
    limit: float | None = None,
    compared: Literal["p50", "p99", "rate"] | None = None,
    error_count: int = 0,
) -> Row:
    """Return the row of a sample; a row of unit ``us`` is compared by its median, any other by its rate."""
    return Row(
        name=name,
        unit=unit,
        p50=sample.p50,
        p99=sample.p99,
        rate=sample.rate,
        limit=limit,
        compared=compared or ("p50" if unit == "us" else "rate"),
        conditions=conditions,
        error_count=error_count,
    )


@dataclass(slots=True)
class Report:
    """All rows of one run, and what they were measured on."""

    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the reader of the figures must know: what was skipped, what failed."""

    def note_circumstances(self, *, quick: bool) -> None:
        """Note what makes the figures of this run worth less than others."""
        if quick:
            self.notes.append("a quick run: too short for figures to rely on")
        load, core_count = self.machine.get("load_average"), self.machine.get("core_count")
        if load is not None and core_count is not None and load > core_count / 2:
            self.notes.append(
                f"the machine was busy with other work (load average {load} on {core_count} cores) when the run "
                "began: it can do better than these figures"
            )

    @property
    def met(self) -> bool:
        """Whether no goal was missed."""
        return all(row.met is not False for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "machine": {**self.machine, "notes": self.notes},
            "rows": [row.as_json() for row in self.rows],
        }

    def json_text(self) -> str:
        """Return `as_json` as one line of JSON."""
        return json.dumps(self.as_json(), ensure_ascii=False)

    def table_text(self) -> str:
        """Return the table for a person: aligned columns, the machine above, the notes below."""
        lines = [", ".join(_machine_words(self.machine)), ""]
        head = ("", "p50 µs", "p99 µs", "rate", "limit", "ratio", "goal", "met")
        body = [
            (
                row.name,
                _number(row.p50),
                _number(row.p99),
                _with_unit(row.rate, "/s" if row.unit == "us" else row.unit),
                _with_unit(row.limit, "µs" if row.unit == "us" else row.unit),
                "" if row.ratio is None else f"{row.ratio:.2f}",
                row.goal,
                {True: "yes", False: "NO", None: "–" if row.conditions else ""}[row.met],
            )
            for row in self.rows
        ]
        lines += _aligned([head, *body], right={1, 2, 3, 4, 5})
        lines += ["", *(f"note: {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)


def _rounded(value: float | None) -> float | None:
    # Four significant digits are more than a benchmark knows, and keep the JSON readable.
    return None if value is None else float(f"{value:.4g}") if abs(value) < 10_000 else float(round(value))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.4g}"


def _with_unit(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{_number(value)}{unit}" if unit == "/s" else f"{_number(value)} {unit}"


def _machine_words(machine: dict[str, Any]) -> list[str]:
    words = [str(machine.get("cpu")), f"{machine.get('core_count')} cores"]
    words += [str(machine[name]) for name in ("file_system", "kernel") if machine.get(name)]
    words += [f"{name} {machine[name]}" for name in ("python", "tickvault", "nginx") if machine.get(name)]
    words.append(f"load average before the run {machine.get('load_average')}")
    return words


def _aligned(table: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
