"""The versions of one key, newest first.

Invariants: a page of versions is one point in time; no snapshot is open while the caller holds a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tickvault.engine.index import prefix_end
from tickvault.objects import entries, names
from tickvault.objects.entries import SEQUENCE_MAX, decode_entry
from tickvault.objects.lookup import listed_info
from tickvault.objects.model import ObjectInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

_PAGE_LENGTH = 1000


def versions(bucket: Bucket, key: str) -> Iterator[ObjectInfo]:
    """Iterate over the versions and delete markers of a key, newest first."""
    raw_key = names.encode_key(key)
    below = SEQUENCE_MAX
    while True:
        page = _page(bucket, raw_key, below)
        yield from page
        if len(page) < _PAGE_LENGTH:
            return
        below = page[-1].sequence


def _page(bucket: Bucket, key: bytes, below: int) -> list[ObjectInfo]:
    """Return the newest versions with a sequence under `below`."""
    found: list[ObjectInfo] = []
    bucket_id = bucket.bucket_id
    with bucket.store.engine.snapshot() as snapshot:
        bucket.state.inside(snapshot)
        current_key = entries.object_key(bucket_id, key)
        raw = snapshot.get(current_key)
        if raw is not None:
            current = decode_entry(current_key, raw)
            if current.sequence < below:
                found.append(listed_info(snapshot, bucket_id, key, current))
        prefix = entries.version_prefix(bucket_id, key)
        start = prefix if below == SEQUENCE_MAX else entries.version_key(bucket_id, key, below - 1)
        for index_key, value in snapshot.scan(start, prefix_end(prefix)):
            if len(found) == _PAGE_LENGTH:
                break
            # Without a current version the newest entry is the delete marker that is latest.
            is_latest = raw is None and below == SEQUENCE_MAX and not found
            found.append(listed_info(snapshot, bucket_id, key, decode_entry(index_key, value), is_latest=is_latest))
    return found
