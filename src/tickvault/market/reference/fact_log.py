"""The log of facts: what was loaded, in the order in which it was loaded.

==================================== ======================================================================
key                                  object
==================================== ======================================================================
reference/KIND/NUMBER                an entry: the facts of one load, and where they are from
quality/reference/DIGEST/FILE        rows of a load that are no facts, with their reasons, as ingest keeps them
==================================== ======================================================================

Invariants: an entry is written only if its number is free, and never changed; the same facts of the same source loaded
again make no entry; what a reader knew at a commit or at a time can be told for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgpack

from tickvault.errors import IntegrityError, NotFoundError, PreconditionFailedError
from tickvault.market.reference.facts import KINDS, Fact
from tickvault.market.schema import TIME_NULL
from tickvault.market.times import to_ns
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

_TRIES_MAX = 1000


class Refused(NamedTuple):
    """A row that is no fact."""

    row: int
    """Its number in the file; the first below a header is 0."""
    reason: str
    raw: bytes


class LoadReport(NamedTuple):
    """What a load did."""

    path: str
    rows: int
    """Input rows."""
    stored: int
    """Facts stored; 0 where they were there already."""
    quarantined: int
    reasons: dict[str, int]
    """Of what is in quarantine."""
    again: bool
    """The same facts of the same source had been loaded before: nothing was done."""


class FactLog:
    """The facts of one kind in a store, as of now or as of a commit."""

    def __init__(self, store: Store, kind: str, until: Callable[[ObjectInfo], bool] | None = None) -> None:
        self._store = store
        self._kind = kind
        self._until = until
        self._facts: list[Fact] = []
        self._digests: set[str] = set()
        self._last = ""
        self.entries = 0

    def facts(self) -> Sequence[Fact]:
        """Return all facts in the order of loading; what others have loaded meanwhile is read too."""
        for info in self._store.list(f"reference/{self._kind}/", start_after=self._last):
            assert isinstance(info, ObjectInfo), "without a delimiter there are no common prefixes"
            if self._until is not None and not self._until(info):
                break
            self._take(info)
        return self._facts

    def _take(self, info: ObjectInfo) -> None:
        if int(info.key.rpartition("/")[2]) != self.entries + 1:
            raise IntegrityError(
                f"reference data: entry {self.entries + 1} of {self._kind} was deleted by hand; restore it"
            )
        try:
            entry = msgpack.unpackb(bytes(self._store.get(info.key)))
        except NotFoundError as error:
            raise IntegrityError(f"reference data: {info.key} was deleted by hand; restore it") from error
        fact: Any = KINDS[self._kind]
        self._facts += [fact(*fields) for fields in entry["facts"]]
        self._digests.add(entry["digest"])
        self._last = info.key
        self.entries += 1

    def add(self, source: str, facts: Sequence[Fact]) -> bool:
        """Append facts as one entry; return False if the same ones of the same source are there."""
        fields = [tuple(fact) for fact in facts]
        digest = hashlib.sha256(msgpack.packb([source, fields])).hexdigest()
        entry = msgpack.packb({"source": source, "digest": digest, "facts": fields})
        for _ in range(_TRIES_MAX):
            self.facts()
            if digest in self._digests:
                return False
            key = f"reference/{self._kind}/{self.entries + 1:012d}"
            try:
                self._store.put(key, entry, if_none_match="*")
            except PreconditionFailedError:
                continue  # another writer was first: look again
            return True
        raise AssertionError(f"{_TRIES_MAX} other loads of {self._kind} came first")


def quarantine(store: Store, source: str, refused: Sequence[Refused]) -> None:
    """Keep rows that are no facts where `Library.quarantine` finds them."""
    if refused:
        body = msgpack.packb([tuple(row) for row in refused])
        digest = hashlib.sha256(body).hexdigest()[:32]
        store.put(f"quality/reference/{digest}/{quote(source[-200:], safe='')}", body)


def known(facts: Iterable[Any], known_at: Any = None) -> list[Any]:
    """Return the facts that hold by what was known at a time: of each identity the latest, unless it was withdrawn.

    Parameters
    ----------
    facts : iterable of Fact
        In the order of loading.
    known_at : time, optional
        By default everything that was loaded counts, whenever it was published.
    """
    moment = None if known_at is None else to_ns(known_at, "known_at")
    latest: dict[tuple[str, ...], tuple[int, Any]] = {}
    for fact in facts:
        published = fact.known_ns
        if moment is not None:
            # Where nobody tells, it counts as known from its first day on, and not a moment earlier.
            assumed = to_ns(fact.start) if published == TIME_NULL else published
            if assumed > moment:
                continue
        before = latest.get(fact.identity)
        if before is None or published >= before[0]:
            latest[fact.identity] = (published, fact)
    return [fact for _, fact in latest.values() if not fact.withdrawn]
