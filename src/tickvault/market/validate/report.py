"""What a validation found.

Invariants: a rule that could not be checked is told with the reason, and has no count; examples are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tickvault.errors import NotFoundError
from tickvault.market.columns import Array
from tickvault.market.times import text_of

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class RuleResult:
    """What one rule found."""

    rule: str
    severity: str
    about: str
    checked: bool = True
    count: int = 0
    share: float = 0.0
    """Of all rows."""
    first_ns: int | None = None
    """`ts_index` of the first row that is flagged."""
    last_ns: int | None = None
    note: str = ""
    """What a reader of the count should know; why it was not checked."""
    examples: tuple[dict[str, Any], ...] = ()
    """Of the first rows flagged: ``row`` (position), times, and the rule's columns, as people write them."""
    rows: Array = field(default_factory=lambda: np.empty(0, np.int64), repr=False, compare=False)
    """Positions of all rows flagged, int64; empty of a report from the ledger."""

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; without the positions."""
        names = ("rule", "severity", "about", "checked", "count", "share", "first_ns", "last_ns", "note")
        return {name: getattr(self, name) for name in names} | {"examples": list(self.examples)}


@dataclass(frozen=True)
class QualityReport:
    """What a validation of one table found."""

    venue: str
    symbol: str
    schema: str
    rows: int
    """That were looked at."""
    start_ns: int | None
    """Of the first row."""
    end_ns: int | None
    """Of the last row."""
    results: tuple[RuleResult, ...]

    def __getitem__(self, rule: str) -> RuleResult:
        """Return what a rule found; raises `NotFoundError` where it was not asked."""
        for result in self.results:
            if result.rule == rule:
                return result
        raise NotFoundError(f"rule {rule!r} was not run; {', '.join(result.rule for result in self.results)} were")

    def __iter__(self) -> Iterator[RuleResult]:
        """Iterate over the rules' results, in the order in which they were run."""
        return iter(self.results)

    @property
    def flagged(self) -> tuple[RuleResult, ...]:
        """The results of rules that flagged rows: errors first, then warnings, then information."""
        order = ("error", "warning", "info")
        found = [result for result in self.results if result.count]
        return tuple(sorted(found, key=lambda result: (order.index(result.severity), -result.count)))

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        names = ("venue", "symbol", "schema", "rows", "start_ns", "end_ns")
        return {name: getattr(self, name) for name in names} | {"rules": [result.to_dict() for result in self.results]}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> QualityReport:
        """Return the report that `to_dict` gave."""
        fields = {name: value for name, value in record.items() if name != "rules"}
        results = tuple(RuleResult(**result | {"examples": tuple(result["examples"])}) for result in record["rules"])
        return cls(**fields, results=results)

    def to_polars(self) -> polars.DataFrame:
        """Return a frame, a row for each rule."""
        import polars as pl

        return pl.DataFrame(
            [
                {
                    "rule": result.rule,
                    "severity": result.severity,
                    "checked": result.checked,
                    "count": result.count if result.checked else None,
                    "share": result.share if result.checked else None,
                    "first": result.first_ns,
                    "last": result.last_ns,
                    "note": result.note,
                }
                for result in self.results
            ],
            schema={
                "rule": pl.String,
                "severity": pl.String,
                "checked": pl.Boolean,
                "count": pl.Int64,
                "share": pl.Float64,
                "first": pl.Int64,
                "last": pl.Int64,
                "note": pl.String,
            },
        ).with_columns(pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in ("first", "last"))

    def __repr__(self) -> str:
        """Show what was found, a line a rule; what was clean, or not checked, in one line each."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the report for a person: a heading, a line for each rule that flagged, and what remains."""
        name = f"{self.venue}/{self.symbol}/{self.schema}" if self.symbol else self.schema
        flagged = self.flagged
        lines = [f"{name}: {self.rows:,} rows, {len(flagged)} of {len(self.results)} rules flagged rows"]
        if flagged:
            width = max(len(result.rule) for result in flagged)
            lines.append(f"  {'RULE':<{width}}  SEVERITY  {'ROWS':>12}  {'SHARE':>7}  {'FIRST (UTC)':<24}  NOTE")
        for result in flagged:
            first = "" if result.first_ns is None else _short(result.first_ns)
            lines.append(
                f"  {result.rule:<{width}}  {result.severity:<8}  {result.count:>12,}  {_percent(result.share):>7}  "
                f"{first:<24}  {result.note}".rstrip()
            )
        clean = [result.rule for result in self.results if result.checked and not result.count]
        if clean:
            lines.append(f"  clean: {', '.join(clean)}")
        lines += [f"  not checked: {result.rule}: {result.note}" for result in self.results if not result.checked]
        return lines


def _short(time_ns: int) -> str:
    """Return a time to the millisecond."""
    return text_of(time_ns // 1_000_000 * 1_000_000)


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 or not share else "<0.01%"
