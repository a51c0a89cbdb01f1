"""Loading reference data: files and tables into a library's log of facts.

Invariants: a load is one entry, whole or not at all; the same facts again are none; a row that is no fact is kept with
its number and reason, and counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.reference import lean_files, readers
from tickvault.market.reference.calendars import calendar_of
from tickvault.market.reference.days import day_number, day_of, next_day, text_of_day
from tickvault.market.reference.definitions import instruments_of
from tickvault.market.reference.fact_log import FactLog, LoadReport, Refused, known, quarantine
from tickvault.market.reference.facts import KINDS, Fact
from tickvault.market.reference.loading import changes_of, conflicts, facts_of, finished
from tickvault.market.reference.readers import Said
from tickvault.market.reference.sessions import sessions
from tickvault.market.table import Table
from tickvault.market.times import to_ns
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

Path = str | os.PathLike[str]
#: An `as_of` below this is a commit number, from it on a time in nanoseconds, as `Library.read` has it.
_COMMIT_MAX = 10**18


class Loads:
    """The facts in a store, and the ways in; `Reference` has the ways out."""

    def __init__(self, store: Store, *, as_of: Any = None) -> None:
        self._store = store
        self._as_of = as_of
        until = None if as_of is None else _until(as_of)
        self._logs = {kind: FactLog(store, kind, until) for kind in KINDS}
        self._found: dict[tuple[str, int], list[Any]] = {}

    def load_symbols(self, path: Path, columns: Mapping[str, str], *, scheme: str = "", venue: str = "") -> LoadReport:
        """Load which symbol each instrument had, and when.

        Parameters
        ----------
        path : path-like
            CSV with a header, JSON lines or Parquet.
        columns : mapping of str to str
            Which of theirs is `identifier`, `symbol`, `start`, and perhaps `end`, `venue`, `scheme`, `known`. A day
            without an end, or in 2050, has none. `readers.DATABENTO_SYMBOLS` is that of a security master.
        scheme : str
            Whose identifiers they are, if the rows do not say.
        """
        return self._load(path, readers.SYMBOLS, columns, Said(scheme=scheme, venue=venue))

    def load_renames(self, path: Path, *, identifier: str = "", venue: str = "") -> LoadReport:
        """Load a LEAN map file: the symbols that one listing had.

        Parameters
        ----------
        identifier : str
            Of the listing in the scheme ``lean``; by default the file's name without ``.csv``, in capitals.
        """
        lines, refused, count = facts_of(path, lean_files.map_line, lean_files.MAP_NAMES)
        name = identifier or os.path.basename(os.fspath(path)).removesuffix(".csv").upper()
        _check_order(path, [line.day for line in lines.values()])
        facts = lean_files.symbol_intervals(name, list(lines.values()), venue)
        return self._take(path, "symbols", facts, refused, count)

    def load_members(
        self,
        path: Path,
        universe: str,
        columns: Mapping[str, str],
        *,
        date: Any = None,
        end_included: bool = False,
    ) -> LoadReport:
        """Load when symbols were members of a universe.

        Parameters
        ----------
        columns : mapping of str to str
            Which of theirs is `symbol`, and perhaps `start`, `end` and `known`.
        date : day, optional
            First day that they are members, of a file without `start`.
        end_included : bool
            Whether `end` is the last day of membership, and not the first one after it.
        """
        told = _needed_day(path, columns, date)
        return self._load(path, readers.MEMBERS, columns, Said(universe, date=told, end_included=end_included))

    def load_changes(self, path: Path, universe: str, columns: Mapping[str, str]) -> LoadReport:
        """Load changes to a universe that is there: of each day, who came and who went.

        Parameters
        ----------
        columns : mapping of str to str
            Which of theirs is `date`, `add` and `remove`; several symbols in a field have commas between them. A
            change that has been made already (the member is there, or has gone on that day) does nothing.
        """
        lines, refused, count = changes_of(path, columns)
        facts = finished(universe, self._known("members"), lines, refused)
        return self._take(path, "members", facts, refused, count)

    def load_sectors(self, path: Path, columns: Mapping[str, str], *, date: Any = None, scheme: str = "") -> LoadReport:
        """Load the sector, and perhaps the industry, of symbols.

        Parameters
        ----------
        columns : mapping of str to str
            Which of theirs is `symbol`, `sector`, and perhaps `industry`, `start`, `end` and `known`.
        date : day, optional
            First day that it holds, of a file without `start`: a snapshot does not say since when.
        """
        told = _needed_day(path, columns, date)
        return self._load(path, readers.SECTORS, columns, Said(scheme=scheme, date=told))

    def load_actions(self, path: Path, columns: Mapping[str, str], *, scheme: str = "", venue: str = "") -> LoadReport:
        """Load splits and dividends.

        Parameters
        ----------
        columns : mapping of str to str
            Which of theirs is `symbol`, `kind`, `ex_date`; of splits `ratio_new` and `ratio_old`; of dividends `amount`
            (or `factor`), `close`, `currency`; `event`, `known` and `action` (D or C: withdrawn) where there are.
            `readers.DATABENTO_ACTIONS` and `readers.DATABENTO_FACTORS` are Databento's.
        scheme : str
            Whose numbers of events they are.
        """
        return self._load(path, readers.ACTIONS, columns, Said(scheme=scheme, venue=venue))

    def load_factors(self, path: Path, *, identifier: str = "", venue: str = "XNYS") -> LoadReport:
        """Load a LEAN factor file: the splits and dividends of one listing.

        Parameters
        ----------
        identifier : str
            Of the listing in the scheme ``lean``; by default the file's name without ``.csv``, in capitals.
        venue : str
            Whose sessions tell the ex-dates.
        """
        lines, refused, count = facts_of(path, lean_files.factor_line, lean_files.FACTOR_NAMES)
        _check_order(path, [line.day for line in lines.values()])
        name = identifier or os.path.basename(os.fspath(path)).removesuffix(".csv").upper()
        try:
            facts = lean_files.actions(name, list(lines.values()), _session_after(venue))
        except ValueError as error:
            raise InvalidInputError(f"load {os.fspath(path)}: {error}") from error
        return self._take(path, "actions", facts, refused, count)

    def load_instruments(self, path: Path, columns: Mapping[str, str], *, venue: str = "") -> LoadReport:
        """Load what symbols are: tick size, multiplier, currency, calendar, expiry.

        Parameters
        ----------
        columns : mapping of str to str
            Which of theirs is `symbol`, and any of the fields of `Instrument` (`expiry` is a time).
        """
        return self._load(path, readers.INSTRUMENTS, columns, Said(venue=venue))

    def load_definitions(self, table: Table) -> LoadReport:
        """Load instruments from rows of schema `definition`; see `definitions`."""
        facts = instruments_of(table)
        name = f"{table.venue}/{table.symbol}/definition"
        return self._take(name, "instruments", facts, [], len(table))

    def add(self, facts: Iterable[Fact], source: str = "by hand") -> LoadReport:
        """Load facts that were made by hand, all of one kind."""
        made = list(facts)
        kinds = {kind for kind, fact in KINDS.items() for each in made if type(each) is fact}
        if len(kinds) > 1 or (made and not kinds):
            raise InvalidInputError(f"add: facts of one kind at a time; these are {', '.join(sorted(kinds)) or 'none'}")
        return self._take(source, kinds.pop(), made, [], len(made)) if made else LoadReport(source, 0, 0, 0, {}, False)

    def _load(self, path: Path, kind: readers.Kind, columns: Mapping[str, str], said: Said) -> LoadReport:
        found, refused, count = facts_of(path, lambda fields: kind.read(fields, said), kind=kind, columns=columns)
        facts = [fact for made in found.values() for fact in made]
        rows = [row for row, made in found.items() for _ in made]
        return self._take(path, kind.folder, facts, refused, count, rows)

    def _take(
        self,
        path: Path,
        kind: str,
        facts: Sequence[Fact],
        refused: Sequence[Refused],
        count: int,
        rows: Sequence[int] = (),
    ) -> LoadReport:
        if self._as_of is not None:
            raise InvalidInputError(
                f"load {os.fspath(path)}: this is the reference data as of {self._as_of}, to read only"
            )
        source = os.path.basename(os.fspath(path)) if os.path.exists(path) else os.fspath(path)
        kept, clashing = conflicts(kind, facts, self._known(kind), rows or range(len(facts)))
        refused = [*refused, *clashing]
        reasons: dict[str, int] = {}
        for row in refused:
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
        again = bool(kept) and not self._logs[kind].add(source, kept)
        quarantine(self._store, source, refused)
        return LoadReport(source, count, 0 if again else len(kept), len(refused), reasons, again)

    def _known(self, kind: str, known_at: Any = None) -> list[Any]:
        log = self._logs[kind]
        facts = log.facts()
        if known_at is not None:
            return known(facts, known_at)
        place = (kind, log.entries)
        if place not in self._found:
            self._found = {each: found for each, found in self._found.items() if each[0] != kind}
            self._found[place] = known(facts)
        return self._found[place]


def _until(as_of: Any) -> Callable[[ObjectInfo], bool]:
    if isinstance(as_of, int) and as_of < _COMMIT_MAX:
        return lambda info: info.sequence <= as_of
    moment = to_ns(as_of, "as_of")
    return lambda info: info.modified_ns <= moment


def _needed_day(path: Path, columns: Mapping[str, str], date: Any) -> str:
    if date is None and "start" not in columns:
        raise InvalidInputError(
            f"load {os.fspath(path)}: it does not say since when it holds; map start, or give date="
        )
    return "" if date is None else day_of(date)


def _check_order(path: Path, days: Sequence[str]) -> None:
    for before, after in pairwise(days):
        if after < before:
            raise InvalidInputError(
                f"load {os.fspath(path)}: its lines go back from {before} to {after}; sort them by day"
            )


def _session_after(venue: str) -> Callable[[str], str]:
    days = sessions(calendar_of(venue)).days

    def after(day: str) -> str:
        at = int(np.searchsorted(days, day_number(day), "right"))
        # Before the calendar begins, and after it ends, the next day is as good as any.
        return text_of_day(int(days[at])) if 0 < at < len(days) else next_day(day)

    return after
