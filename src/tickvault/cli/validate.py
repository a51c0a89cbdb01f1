"""`tickvault validate`: rules run on series, and what they flag.

Invariants: nothing is changed but with --record, which adds a report to the library's ledger; a series is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.cli.read import library_of
from tickvault.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from tickvault.market.library import Library
    from tickvault.market.validate import Limits, QualityReport, RuleResult

_EXAMPLES = 3


@click.command()
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1)
@library_option
@click.option("--schema", metavar="NAME", help="Only series of this schema.")
@click.option("--venue", metavar="NAME", help="Only series of this venue.")
@click.option("--start", metavar="TIME", help="First time, such as 2023-12-26T14:30 (UTC unless it says a zone).")
@click.option("--end", metavar="TIME", help="Time at which to stop, itself not included.")
@click.option("--rule", "rules", metavar="NAME", multiple=True, help="Only this rule; may be repeated.")
@click.option("--calendar", metavar="NAME", help="Calendar of the trading hours; by default the venue's.")
@click.option("--tick-size", metavar="PRICE", help="Prices that are no multiple of it are flagged.")
@click.option(
    "--examples", type=click.IntRange(0, 1000), default=_EXAMPLES, show_default=True, help="Rows to show of each rule."
)
@click.option("--record", is_flag=True, help="Keep the reports in the library; tickvault quality --flags lists them.")
@vault_option
@json_option
def validate(
    *,
    symbols: tuple[str, ...],
    library: str,
    schema: str | None,
    venue: str | None,
    start: str | None,
    end: str | None,
    rules: tuple[str, ...],
    calendar: str | None,
    tick_size: str | None,
    examples: int,
    record: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Run rules on series, and count the rows that they flag.

    Rules doubt crossed quotes, prices and sizes, clocks, sequence numbers, bars, outliers and trading hours. They flag
    rows and change nothing. Without a symbol all series are looked at. The status is 0 whatever is flagged.

    \b
    Examples:
      tickvault validate AIG --library lean --schema bbo
      tickvault validate --library eod --schema ohlcv-1d --record
      tickvault validate ESH4 --library cme --tick-size 0.25 --rule price_off_tick --json
    """
    with open_vault(vault_dir) as vault, terminal.Progress("validate") as progress:
        from tickvault.market import validate as validating

        target = library_of(vault, library)
        keys = _chosen(target, symbols, schema, venue, library)
        limits = _limits(examples, tick_size)
        counts: Counter[str] = Counter()
        rows = 0
        for done, key in enumerate(keys):
            progress(done, len(keys), "series")
            table = target.read(key.symbol, key.schema, start, end, venue=key.venue)
            report = validating.validate(table, rules or None, calendar=calendar, limits=limits)
            rows += report.rows
            counts.update({result.rule: result.count for result in report.flagged})
            if record:
                validating.record(vault.bucket(f"library-{library}"), key, report)
            progress.wipe()
            tell(report, as_json=as_json, brief=len(keys) > 1)
    if len(keys) > 1 and not as_json:
        for rule, amount in counts.most_common():
            terminal.say(f"{rule}: {terminal.count(amount, 'row')}")
    terminal.say(f"{terminal.count(rows, 'row')} of {terminal.count(len(keys), 'series', 'series')} looked at")


def _chosen(target: Library, symbols: Sequence[str], schema: str | None, venue: str | None, library: str) -> list[Any]:
    everything = target.series(None, schema, venue)
    missing = [symbol for symbol in symbols if symbol not in {key.symbol for key in everything}]
    if missing or not everything:
        what = " ".join([*(missing or symbols), *filter(None, (schema, venue))]) or "any series"
        raise NotFoundError(
            f"validate {what}: there is no such series in library {library}; tickvault symbols lists them"
        )
    return [key for key in everything if not symbols or key.symbol in symbols]


def _limits(examples: int, tick_size: str | None) -> Limits:
    from decimal import Decimal, InvalidOperation

    from tickvault.market.schema import PRICE_SCALE
    from tickvault.market.validate import Limits

    if tick_size is None:
        return Limits(examples=examples)
    try:
        units = Decimal(tick_size) * PRICE_SCALE
    except InvalidOperation:
        units = Decimal(0)
    if not units.is_finite() or units <= 0 or units != int(units):
        raise InvalidInputError(f"--tick-size {tick_size}: give a price above 0, such as 0.01, of up to nine decimals")
    return Limits(examples=examples, tick_size=int(units))


def tell(report: QualityReport, *, as_json: bool, brief: bool) -> None:
    """Print a report: as one line of JSON, or for a person, in a few lines where it is one of many."""
    if as_json:
        terminal.answer_json(report.to_dict())
        return
    lines = report.lines()
    if brief:
        lines = lines[: 2 + len(report.flagged)] if report.flagged else []
    for line in lines:
        terminal.answer(terminal.printable(line))
    if not brief:
        for result in report.flagged:
            _tell_examples(result)


def _tell_examples(result: RuleResult) -> None:
    if not result.examples:
        return
    terminal.answer(f"\n{result.rule}: {result.about}")
    names = list(dict.fromkeys(name for example in result.examples for name in example))
    lines = [names, *([_text(example.get(name)) for name in names] for example in result.examples)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    for line in lines:
        text = "  ".join(f"{field:<{width}}" for field, width in zip(line, widths, strict=True))
        terminal.answer(f"  {terminal.printable(text).rstrip()}")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
