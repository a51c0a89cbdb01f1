"""What files of reference data go through on their way in: rows read, facts made, and refused where they clash.

Invariants: a row gives its facts or is refused with its number and reason; what clashes with what is there, or with an
earlier row, is refused, and what is there stays.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tickvault.errors import TickVaultError
from tickvault.market.reference.days import FOREVER, day_of
from tickvault.market.reference.fact_log import Refused
from tickvault.market.reference.facts import Action, Fact, Membership, SymbolInterval
from tickvault.market.reference.readers import Kind
from tickvault.market.reference.rows import Fields, check_columns, read_rows, wanted_columns

Made = TypeVar("Made")
Change = tuple[int, str, list[str], list[str], bytes]
"""Row, day, who came, who went, bytes."""


def facts_of(
    path: str | os.PathLike[str],
    read: Callable[[Fields], Made],
    names: Sequence[str] = (),
    *,
    kind: Kind | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[dict[int, Made], list[Refused], int]:
    """Return what `read` makes of each row by its number, the rows that are refused, and the number of rows.

    Parameters
    ----------
    names : sequence of str
        Of the columns of a CSV without a header.
    columns : mapping of str to str
        From our names to the file's; checked against what `kind` knows and needs.
    """
    if kind is not None:
        check_columns(os.fspath(path), columns or {}, kind.columns, kind.needed)
    mapping = {name: name for name in names} if columns is None else columns
    found: dict[int, Made] = {}
    refused: list[Refused] = []
    count = 0
    needed = () if kind is None else kind.needed
    for row in read_rows(path, names, wanted_columns(path, columns or {}, needed)):
        count += 1
        if isinstance(row, Refused):
            refused.append(row)
            continue
        number, fields, raw = row
        try:
            found[number] = read(Fields(fields, mapping))
        except (ValueError, TickVaultError) as error:
            refused.append(Refused(number, str(error), raw))
    return found, refused, count


def changes_of(path: str | os.PathLike[str], columns: Mapping[str, str]) -> tuple[list[Change], list[Refused], int]:
    """Return the changes to a universe that a file tells, as `facts_of` does."""
    names = ("date", "add", "remove")
    check_columns(os.fspath(path), columns, names, names)
    found: list[Change] = []
    refused: list[Refused] = []
    count = 0
    for row in read_rows(path, wanted=wanted_columns(path, columns, ("date",))):
        count += 1
        if isinstance(row, Refused):
            refused.append(row)
            continue
        number, fields, raw = row
        ours = Fields(fields, columns)
        try:
            day = day_of(ours.needed("date"))
        except ValueError as error:
            refused.append(Refused(number, str(error), raw))
            continue
        came, went = (
            [symbol.strip() for symbol in ours.text(name).split(",") if symbol.strip()] for name in ("add", "remove")
        )
        found.append((number, day, came, went, raw))
    return sorted(found, key=lambda change: change[1]), refused, count


def finished(
    universe: str, known: Sequence[Membership], changes: Sequence[Change], refused: list[Refused]
) -> list[Fact]:
    """Return the memberships that changes begin and end; a change that makes no sense is added to `refused`."""
    open_now: dict[str, Membership] = {}
    spans: defaultdict[str, list[Membership]] = defaultdict(list)
    for each in known:
        if each.universe == universe:
            spans[each.symbol].append(each)
            if each.end == FOREVER:
                open_now[each.symbol] = each
    made: dict[tuple[str, ...], Fact] = {}
    for number, day, came, went, raw in changes:
        for symbol in came:
            if any(each.start <= day < each.end for each in spans[symbol]):
                continue
            member = open_now[symbol] = Membership(universe, symbol, day)
            spans[symbol].append(member)
            made[member.identity] = member
        for symbol in went:
            if any(each.end == day for each in spans[symbol]):
                continue
            before = open_now.pop(symbol, None)
            if before is None or before.start >= day:
                refused.append(Refused(number, f"{symbol} goes on {day}, and was no member", raw))
                continue
            after = before._replace(end=day)
            spans[symbol] = [after if each == before else each for each in spans[symbol]]
            made[after.identity] = after
    return list(made.values())


def conflicts(
    kind: str, facts: Sequence[Any], there: Sequence[Any], rows: Sequence[int]
) -> tuple[list[Any], list[Refused]]:
    """Return the facts that can be kept, and those that cannot be with why; `rows` are the numbers of their rows."""
    if kind == "symbols":
        return _without_clashes(facts, there, rows)
    if kind == "actions":
        return _without_doubles(facts, rows)
    return list(facts), []


def _without_clashes(
    facts: Sequence[SymbolInterval], there: Sequence[SymbolInterval], rows: Sequence[int]
) -> tuple[list[SymbolInterval], list[Refused]]:
    """Refuse a symbol that would be two instruments' at once, or an instrument that would have two symbols."""
    of_symbol: defaultdict[tuple[str, str, str], list[SymbolInterval]] = defaultdict(list)
    of_instrument: defaultdict[tuple[str, str, str], list[SymbolInterval]] = defaultdict(list)

    def take(fact: SymbolInterval) -> None:
        of_symbol[fact.scheme, fact.symbol, fact.venue].append(fact)
        of_instrument[fact.scheme, fact.identifier, fact.venue].append(fact)

    superseded = {fact.identity for fact in facts}
    for fact in there:
        if fact.identity not in superseded:
            take(fact)
    kept, refused = [], []
    for number, fact in zip(rows, facts, strict=True):
        clash = next(
            (
                other
                for other in (
                    *of_symbol[fact.scheme, fact.symbol, fact.venue],
                    *of_instrument[fact.scheme, fact.identifier, fact.venue],
                )
                if other.start < fact.end
                and fact.start < other.end
                and (other.symbol, other.identifier) != (fact.symbol, fact.identifier)
                and not fact.withdrawn
            ),
            None,
        )
        if clash is None:
            kept.append(fact)
            take(fact)
        else:
            reason = (
                f"{fact.identifier} is called {fact.symbol} from {fact.start}, and {clash.identifier} is called "
                f"{clash.symbol} from {clash.start} to {clash.end}"
            )
            refused.append(Refused(number, reason, repr(tuple(fact)).encode()))
    return kept, refused


def _without_doubles(facts: Sequence[Action], rows: Sequence[int]) -> tuple[list[Action], list[Refused]]:
    """Refuse a second event of one symbol, kind and day that has no number: nobody can tell it from a correction."""
    seen: dict[tuple[str, ...], Action] = {}
    kept, refused = [], []
    for number, fact in zip(rows, facts, strict=True):
        before = seen.get(fact.identity)
        if before is None or (fact.event and fact != before):
            kept.append(fact)
            seen[fact.identity] = fact
        elif fact != before:
            reason = (
                f"a second {fact.kind} of {fact.symbol} on {fact.ex_day}; map event, so that they can be told apart"
            )
            refused.append(Refused(number, reason, repr(tuple(fact)).encode()))
    return kept, refused
