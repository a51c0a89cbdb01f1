"""The ledger of flags: what validations found, kept beside the series.

==================================== ======================================================================
key                                  object
==================================== ======================================================================
flags/VENUE/SYMBOL/SCHEMA/NUMBER     a report, with its counts and examples
==================================== ======================================================================

Invariants: an entry is written only if its number is free, and never changed: a later report is another entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgpack

from tickvault.errors import InvalidInputError, PreconditionFailedError
from tickvault.market.catalog import SeriesKey
from tickvault.market.validate.report import QualityReport
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

_TRIES_MAX = 1000


class LedgerEntry(NamedTuple):
    """A report in the ledger."""

    key: SeriesKey
    number: int
    """Of the series' reports, from 1."""
    commit: int
    """The vault's number of the entry."""
    recorded_ns: int
    report: QualityReport


def record(store: Store, key: SeriesKey, report: QualityReport) -> int:
    """Keep a report of a series, and return its number.

    Raises
    ------
    InvalidInputError
        The report is of another series.
    """
    if (report.venue, report.symbol, report.schema) != tuple(key):
        told = SeriesKey(report.venue, report.symbol, report.schema)
        raise InvalidInputError(f"record: the report is of {told}, and not of {key}")
    body = msgpack.packb(report.to_dict())
    for _ in range(_TRIES_MAX):
        number = 1 + max((_number(info) for info in _infos(store, f"flags/{key.path}/")), default=0)
        try:
            store.put(f"flags/{key.path}/{number:012d}", body, if_none_match="*")
        except PreconditionFailedError:
            continue  # another writer was first: look again
        return number
    raise AssertionError(f"{_TRIES_MAX} other reports of {key} came first")


def ledger(
    store: Store, symbol: str | None = None, schema: str | None = None, venue: str | None = None
) -> Iterator[LedgerEntry]:
    """Iterate over the reports of the series that fit, the oldest of each first."""
    prefix = "flags/" if venue is None else f"flags/{quote(venue, safe='')}/"
    for info in _infos(store, prefix):
        key = SeriesKey(*map(unquote, info.key.split("/")[1:4]))
        if symbol in (None, key.symbol) and schema in (None, key.schema):
            report = QualityReport.from_dict(msgpack.unpackb(bytes(store.get(info.key))))
            yield LedgerEntry(key, _number(info), info.sequence, info.modified_ns, report)


def _infos(store: Store, prefix: str) -> Iterator[ObjectInfo]:
    for info in store.list(prefix):
        assert isinstance(info, ObjectInfo), "without a delimiter there are no common prefixes"
        yield info


def _number(info: ObjectInfo) -> int:
    return int(info.key.rpartition("/")[2])
