"""When access keys were last used.

A use is noted in memory and written down at most hourly: a durable write for each request would cost more than the
request, and every write sends the caches of all processes to look whether it concerns them.

Invariants: a time that was written never goes back; a process that dies loses at most the last hour of its own notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tickvault.errors import BusyError, ConflictError
from tickvault.security.identity.fields import VERSION, Fields
from tickvault.security.identity.limits import CHANGE_TRIES_MAX, LAST_USED_INTERVAL_S, NS
from tickvault.security.identity.model import AccessKey
from tickvault.security.identity.names import document_prefix
from tickvault.security.identity.registry import Registry

PREFIX = document_prefix("last-used")
# 100,000 keys are 1,600 in each, about 50 KiB.
_SHARD_COUNT = 64


def shard_name(key_id: str) -> str:
    """Return the name of the document in which a key's last use is written."""
    return f"{PREFIX}{hashlib.sha256(key_id.encode()).digest()[0] % _SHARD_COUNT:02d}"


class Uses:
    """Uses of this process that may not have been written yet."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        #: By key id: time of the last use. Written by lookups, without a lock: a lost race loses nanoseconds.
        self.latest: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._written_at_ns = registry.clock.monotonic_ns()

    def write(self, *, force: bool = False) -> int:
        """Write down what was noted, if an hour has passed since it was done; return how many keys it were.

        Parameters
        ----------
        force : bool, optional
            Also if no hour has passed: before closing.
        """
        now_ns = self._registry.clock.monotonic_ns()
        if not force and now_ns - self._written_at_ns < LAST_USED_INTERVAL_S * NS:
            return 0
        self._written_at_ns = now_ns
        due: dict[str, dict[str, int]] = {}
        for key_id, used_ns in self.latest.copy().items():
            if used_ns > self._written.get(key_id, -1):
                due.setdefault(shard_name(key_id), {})[key_id] = used_ns
        for name, uses in due.items():
            _merge(self._registry, name, uses)
            self._written.update(uses)
        return sum(map(len, due.values()))


def with_last_used(registry: Registry, keys: Iterable[AccessKey]) -> list[AccessKey]:
    """Return keys with when each was last used, as far as it was written down."""
    shards: dict[str, Mapping[str, int]] = {}
    told: list[AccessKey] = []
    for key in keys:
        name = shard_name(key.id)
        if name not in shards:
            shards[name] = _read(registry, name)[0]
        told.append(replace(key, last_used_ns=shards[name].get(key.id)))
    return told


def forget_all_but(registry: Registry, alive: frozenset[str]) -> int:
    """Remove what was written of keys that are gone; return how many they were."""
    gone_count = 0
    for place in range(_SHARD_COUNT):
        name = f"{PREFIX}{place:02d}"
        uses, revision = _read(registry, name)
        kept = {key_id: used_ns for key_id, used_ns in uses.items() if key_id in alive}
        if len(kept) != len(uses):
            try:
                registry.documents.put(name, {"v": VERSION, "uses": kept}, expect=revision)
            except ConflictError:
                continue  # in use; the next time
            gone_count += len(uses) - len(kept)
    return gone_count


def _read(registry: Registry, name: str) -> tuple[dict[str, int], int]:
    document = registry.documents.get(name)
    if document is None:
        return {}, 0
    fields = Fields.of(document)
    return fields.integers("uses"), document.revision


def _merge(registry: Registry, name: str, uses: Mapping[str, int]) -> None:
    for _ in range(CHANGE_TRIES_MAX):
        merged, revision = _read(registry, name)
        for key_id, used_ns in uses.items():
            merged[key_id] = max(used_ns, merged.get(key_id, 0))
        try:
            registry.documents.put(name, {"v": VERSION, "uses": merged}, expect=revision)
            return
        except ConflictError:
            continue
    raise BusyError(f"document {name}: others keep changing it; try again")
