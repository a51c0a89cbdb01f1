"""Listings: ordered by the bytes of the key, in pages, each page one point in time.

Invariants: a listing of objects reads only O entries, however many versions there are, and the locks of those that are
locked; a common prefix costs one seek, however many keys lie under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tickvault.engine.index import Reader, prefix_end
from tickvault.errors import InvalidInputError
from tickvault.objects import entries
from tickvault.objects.entries import Entry, decode_entry
from tickvault.objects.lookup import info_of_entry, listed_info, sequence_of
from tickvault.objects.model import ListPage, ObjectInfo, VersionPage
from tickvault.objects.names import encode_text

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

LIMIT_MAX = 100_000


def check_limit(limit: int) -> int:
    """Return the limit if it is between 0 and `LIMIT_MAX`."""
    if not 0 <= limit <= LIMIT_MAX:
        raise InvalidInputError(f"limit must be between 0 and {LIMIT_MAX}, was {limit}")
    return limit


class Rollup:
    """The keys of a range, those under a common prefix rolled up into it."""

    def __init__(self, reader: Reader, tag: bytes, bucket_id: int, prefix: bytes, delimiter: bytes) -> None:
        self._reader = reader
        # V and U keys end in a NUL and a number, in which a delimiter means nothing.
        self._tail_length = 0 if tag == b"O" else 9
        self._check: Callable[[bytes, bytes], object] = entries.decode_document if tag == b"U" else decode_entry
        self._head = entries.bucket_prefix(tag, bucket_id)
        self._end = prefix_end(self._head + prefix)
        self._prefix_length = len(self._head) + len(prefix)
        self._prefix = self._head + prefix
        self._delimiter = delimiter

    def items(self, start: bytes, skip_prefix: bytes | None) -> Iterator[tuple[bytes, bytes | None]]:
        """Iterate over (index key, value), or (common prefix, None), from `start` on.

        `skip_prefix` is a common prefix that an earlier page has shown.
        """
        start = max(start, self._prefix)
        if skip_prefix is not None:
            start = max(start, prefix_end(self._head + skip_prefix))
        delimiter = self._delimiter
        head_length = len(self._head)
        if not delimiter:
            yield from self._reader.scan(start, self._end)
            return
        while True:
            jump = None
            for index_key, value in self._reader.scan(start, self._end):
                at = index_key.find(delimiter, self._prefix_length, len(index_key) - self._tail_length)
                if at < 0:
                    yield index_key, value
                    continue
                # Its key is shown in part, and must be right for that.
                self._check(index_key, value)
                common = index_key[: at + len(delimiter)]
                yield common[head_length:], None
                jump = prefix_end(common)
                break
            if jump is None:
                return
            start = jump


def list_page(
    bucket: Bucket,
    prefix: str = "",
    delimiter: str = "",
    start_after: str = "",
    limit: int = 1000,
    *,
    locks: bool = True,
) -> ListPage:
    """Return one page of current objects; without `locks` it does not look them up."""
    check_limit(limit)
    objects: list[ObjectInfo] = []
    prefixes: list[str] = []
    raw_prefix = encode_text("prefix", prefix)
    raw_delimiter = encode_text("delimiter", delimiter)
    after = encode_text("start_after", start_after)
    head = bucket.object_prefix
    head_length = len(head)
    with bucket.store.engine.snapshot() as snapshot:
        bucket.state.inside(snapshot)
        rollup = Rollup(snapshot, b"O", bucket.bucket_id, raw_prefix, raw_delimiter)
        shown = after if is_common(after, raw_prefix, raw_delimiter) else None
        start = head + after + b"\0" if after else head
        last = ""
        for count, (index_key, value) in enumerate(rollup.items(start, shown)):
            if count >= limit:
                return ListPage(objects, prefixes, last if limit else start_after or None)
            if value is None:
                last = index_key.decode()
                prefixes.append(last)
            else:
                key, entry = index_key[head_length:], decode_entry(index_key, value)
                info = listed_info(snapshot, bucket.bucket_id, key, entry) if locks else info_of_entry(key, entry)
                objects.append(info)
                last = info.key
    return ListPage(objects, prefixes, None)


def is_common(after: bytes, prefix: bytes, delimiter: bytes) -> bool:
    """Return whether a marker is a common prefix, so that all keys under it were shown with it."""
    if not delimiter or not after.startswith(prefix):
        return False
    at = after.find(delimiter, len(prefix))
    return at >= 0 and at + len(delimiter) == len(after)


def iterate(bucket: Bucket, prefix: str, delimiter: str, start_after: str) -> Iterator[ObjectInfo | str]:
    """Iterate over all pages: `ObjectInfo`s and, with a delimiter, common prefixes as `str`, in key order."""
    marker: str | None = start_after
    while marker is not None:
        page = list_page(bucket, prefix, delimiter, marker, 1000)
        if page.common_prefixes:
            both: list[ObjectInfo | str] = [*page.objects, *page.common_prefixes]
            both.sort(key=lambda item: (item if isinstance(item, str) else item.key).encode())
            yield from both
        else:
            yield from page.objects
        marker = page.next_start_after


def list_versions_page(
    bucket: Bucket,
    prefix: str = "",
    delimiter: str = "",
    key_marker: str = "",
    version_id_marker: str = "",
    limit: int = 1000,
    *,
    locks: bool = True,
) -> VersionPage:
    """Return one page of versions and delete markers: by key, newest first; see `list_page`."""
    check_limit(limit)
    if version_id_marker and not key_marker:
        raise InvalidInputError("version_id_marker needs key_marker")
    versions: list[ObjectInfo] = []
    prefixes: list[str] = []
    raw_prefix = encode_text("prefix", prefix)
    raw_delimiter = encode_text("delimiter", delimiter)
    after = encode_text("key_marker", key_marker)
    with bucket.store.engine.snapshot() as snapshot:
        bucket.state.inside(snapshot)
        shown = after if is_common(after, raw_prefix, raw_delimiter) else None
        last: tuple[str, str | None] = (key_marker, version_id_marker or None)
        count = 0
        skip_to = _skip_sequence(bucket, snapshot, after, version_id_marker)
        for key, value in _keys_with_versions(
            bucket, snapshot, raw_prefix, raw_delimiter, after, shown, skip_to, locks
        ):
            if value is None:
                if count >= limit:
                    return VersionPage(versions, prefixes, *last)
                count += 1
                prefixes.append(key.decode())
                last = (prefixes[-1], None)
                continue
            for info in value:
                if key == after and skip_to is not None and info.sequence >= skip_to:
                    continue
                if count >= limit:
                    return VersionPage(versions, prefixes, *last)
                count += 1
                versions.append(info)
                last = (info.key, info.version_id)
    return VersionPage(versions, prefixes, None, None)


def _skip_sequence(bucket: Bucket, reader: Reader, after: bytes, version_id_marker: str) -> int | None:
    """Return the sequence of the last version shown; older ones of the marker's key follow."""
    if not version_id_marker:
        return None
    if version_id_marker != "null":
        sequence = sequence_of(version_id_marker)
        if sequence is None:
            raise InvalidInputError(f"version_id_marker {version_id_marker!r} is no version id")
        return sequence
    pointer = reader.get(entries.null_key(bucket.bucket_id, after))
    if pointer is not None:
        return int.from_bytes(pointer, "big")
    index_key = entries.object_key(bucket.bucket_id, after)
    raw = reader.get(index_key)
    return decode_entry(index_key, raw).sequence if raw is not None else 0


def _keys_with_versions(
    bucket: Bucket,
    reader: Reader,
    prefix: bytes,
    delimiter: bytes,
    after: bytes,
    shown: bytes | None,
    skip_to: int | None,
    locks: bool,
) -> Iterator[tuple[bytes, list[ObjectInfo] | None]]:
    """Merge O and V by key; yield (key, versions newest first) or (common prefix, None)."""
    bucket_id = bucket.bucket_id

    def listed(key: bytes, entry: Entry, *, is_latest: bool = True) -> ObjectInfo:
        if locks:
            return listed_info(reader, bucket_id, key, entry, is_latest=is_latest)
        return info_of_entry(key, entry, is_latest=is_latest)

    start = after if skip_to is not None else after + b"\0" if after else b""
    current = Rollup(reader, b"O", bucket_id, prefix, delimiter).items(
        entries.bucket_prefix(b"O", bucket_id) + start, shown
    )
    # A V key has a NUL and a number after the object's key, so one more NUL passes the versions of `after`.
    version_start = entries.bucket_prefix(b"V", bucket_id) + (
        after if skip_to is not None else after + b"\x01" if after else b""
    )
    older = _grouped(Rollup(reader, b"V", bucket_id, prefix, delimiter).items(version_start, shown))
    left = next(current, None)
    right = next(older, None)
    while left is not None or right is not None:
        left_key = None if left is None else (left[0] if left[1] is None else left[0][5:])
        right_key = None if right is None else right[0]
        key = min(found for found in (left_key, right_key) if found is not None)
        infos: list[ObjectInfo] = []
        common = False
        if left is not None and left_key == key:
            if left[1] is None:
                common = True
            else:
                infos.append(listed(key, decode_entry(*left)))  # type: ignore[arg-type]
            left = next(current, None)
        if right is not None and right_key == key:
            if right[1] is None:
                common = True
            else:
                has_current = bool(infos)
                for number, (index_key, value) in enumerate(right[1]):
                    entry = decode_entry(index_key, value)
                    infos.append(listed(key, entry, is_latest=not has_current and number == 0))
            right = next(older, None)
        yield key, None if common else infos


def _grouped(
    items: Iterator[tuple[bytes, bytes | None]],
) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]] | None]]:
    """Group V entries by object key."""
    key: bytes | None = None
    group: list[tuple[bytes, bytes]] = []
    for index_key, value in items:
        found = index_key if value is None else index_key[5:-9]
        if group and found != key:
            yield key, group  # type: ignore[misc]
            group = []
        key = found
        if value is None:
            yield found, None
        else:
            group.append((index_key, value))
    if group:
        yield key, group  # type: ignore[misc]
