"""The checkpoint: `recent` into `index`, durably, without keeping writers waiting.

Invariants: the segments are synced before `index` says it holds what they hold; the copy is made outside the commit
lock with the journal position in the same transaction; an entry is dropped from `recent` only if it has not changed
since, in slices, so that no writer waits long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb

from tickvault.engine.commit import poisoned
from tickvault.engine.index import (
    KEY_CHECKPOINT,
    KEY_TAIL,
    META_PREFIX,
    SHORT_KEY_MAX,
    Tail,
    index_error,
    merge_down,
)
from tickvault.seam.disk import SyncError

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

_DROP_SLICE = 500


def run_checkpoint(engine: Engine, *, recovering: bool = False) -> int:
    """Run one checkpoint and return how many entries moved.

    The caller holds the checkpoint lock, or is alone and `recovering`: then the poison flag is not asked, because what
    the segments hold has just been read up to where it is believed.
    """
    recent = engine.index.recent
    with recent.begin() as txn:
        tail = Tail.unpack(txn.get(KEY_TAIL))
        items = [item for item in txn.cursor() if not item[0].startswith(META_PREFIX)]
    with engine.index.index.begin() as txn:
        reached = Tail.unpack(txn.get(KEY_CHECKPOINT))
    if reached[:5] == tail[:5]:
        return 0
    # Segments before the current one were synced when the journal rolled.
    try:
        engine.disk.sync(engine.segments.fd(tail.segment_id))
    except SyncError as error:
        engine.control.poison()
        raise poisoned(error) from error
    if not recovering:
        engine.check_writable()
        engine.note_synced(tail)
    try:
        with engine.index.index.begin(write=True) as txn:
            txn.cursor().putmulti([item for item in items if item[1] and len(item[0]) <= SHORT_KEY_MAX])
            for key, value in items:
                if not value or len(key) > SHORT_KEY_MAX:
                    merge_down(txn, key, value)
            txn.put(KEY_CHECKPOINT, tail.pack())
        for start in range(0, max(len(items), 1), _DROP_SLICE):
            with recent.begin(write=True) as txn:
                now = Tail.unpack(txn.get(KEY_TAIL))
                if now.base != tail.sequence:
                    txn.put(KEY_TAIL, now._replace(base=tail.sequence).pack())
                for key, value in items[start : start + _DROP_SLICE]:
                    if txn.get(key) == value:
                        txn.delete(key)
    except lmdb.Error as error:
        raise index_error(error, "checkpoint") from error
    return len(items)
