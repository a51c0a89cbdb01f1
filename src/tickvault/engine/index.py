"""The two-level index: `recent`, never synced, over `index`, synced at checkpoints.

Both are LMDB environments with one ordered table; the first byte of a key tells the kind of entry, and ``b"M"`` is the
engine's own.  A delete leaves a tombstone (an empty value) in `recent`, which hides the entry in `index` until the next
checkpoint removes both.

Invariants: an entry leaves `recent` only after a durable checkpoint put it into `index`; a reader of many keys opens
`recent`, then `index`, and tries again until ``base <= checkpoint <= last``, so that it sees one point in time; no read
transaction outlives one operation.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, Self

import lmdb
import msgpack

from tickvault.errors import BusyError, DiskFullError, IntegrityError, StorageError, TickVaultError
from tickvault.seam.disk import plain_file, storage_error

#: LMDB 0.9.36 inside py-lmdb 3. Its LMDB 1.0.2 (interface 1) would take keys of 1,978 bytes, but readers beside writers
#: see pages that are being reused ("Located page was wrong type", once in some 200,000 reads beside four writers), with
#: or without crashes; 0.9.36 did not in as many runs. Part of the vault's format.
LMDB_VERSION = 0
#: Sparse and fixed: address space, not disk.
MAP_SIZE = 1 << 40
READERS_MAX = 1024
#: Longer keys share an entry with the others of the same first bytes: see `long_key`.
SHORT_KEY_MAX = 510

TOMBSTONE = b""
META_PREFIX = b"M"
KEY_TAIL = b"M/tail"
KEY_CHECKPOINT = b"M/checkpoint"
KEY_IDENTITY = b"M/identity"

_TAIL = struct.Struct("<QQQIQQQQ")


class Tail(NamedTuple):
    """Where the journal ends, and how much of it `index` holds."""

    epoch: int
    sequence: int
    """Last sequence number given out."""
    batch_id: int
    segment_id: int
    offset: int
    """Where the next batch goes."""
    base: int
    """In `recent`: entries up to this sequence may have been dropped, because `index` has them."""
    segment_end: int
    """Size of the current segment in bytes."""
    written_end: int = 0
    """Up to where the segment was written with zeros ahead of the batches."""

    def pack(self) -> bytes:
        """Return the bytes kept in LMDB."""
        return _TAIL.pack(*self)

    @classmethod
    def unpack(cls, raw: bytes) -> Tail:
        """Read `pack`'s bytes."""
        try:
            return cls(*_TAIL.unpack(raw))
        except (struct.error, TypeError) as error:
            raise damaged_index("read the index", error) from error


class Reader(Protocol):
    """A view of the index: one point in time, or the inside of a commit."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None if there is none."""

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over entries with ``start <= key < end`` in byte order."""


def long_key(key: bytes) -> bytes:
    """Return the LMDB key of the entry that holds a key beyond `SHORT_KEY_MAX`, 511 bytes long.

    All keys with the same first 510 bytes stand in it, as a sorted map from the rest to the value. No shorter key lies
    between them, so the order of keys is kept.
    """
    return key[:SHORT_KEY_MAX] + b"\xff"


def damaged_index(doing: str, what: object) -> IntegrityError:
    """Return the error of an index that cannot be right."""
    return IntegrityError(
        f"{doing}: the index is damaged ({what}); close the vault everywhere and run `tickvault rebuild-index`"
    )


def _unpack_long(raw: bytes | None) -> dict[bytes, bytes]:
    return dict(_long_items(raw)) if raw else {}


def _long_items(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Return what a shared entry of long keys holds. The entries in it have checksums that cover their whole keys."""
    try:
        found = msgpack.unpackb(raw, use_list=False)
        items = [(rest, value) for rest, value in found]
        sound = all(type(rest) is bytes and rest and type(value) is bytes for rest, value in items)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise damaged_index("look up", f"an entry of long keys: {error}") from error
    if not sound or any(items[number][0] >= items[number + 1][0] for number in range(len(items) - 1)):
        raise damaged_index("look up", "an entry of long keys is out of order")
    return items


def _pack_long(rest: dict[bytes, bytes]) -> bytes:
    packed: bytes = msgpack.packb(sorted(rest.items()))
    return packed


def _get(txn: Any, key: bytes) -> bytes | None:
    """Return the value of a key of any length in one environment."""
    if len(key) <= SHORT_KEY_MAX:
        value: bytes | None = txn.get(key)
        return value
    return _unpack_long(txn.get(long_key(key))).get(key[SHORT_KEY_MAX:])


def put_any(txn: Any, key: bytes, value: bytes) -> None:
    """Set the value of a key of any length in one environment."""
    if len(key) <= SHORT_KEY_MAX:
        txn.put(key, value)
        return
    rest = _unpack_long(txn.get(long_key(key)))
    rest[key[SHORT_KEY_MAX:]] = value
    txn.put(long_key(key), _pack_long(rest))


def merge_down(txn: Any, key: bytes, value: bytes) -> None:
    """Apply one raw entry of `recent` to `index`, tombstones included."""
    if len(key) <= SHORT_KEY_MAX:
        if value:
            txn.put(key, value)
        else:
            txn.delete(key)
        return
    rest = _unpack_long(txn.get(key))
    rest.update(_unpack_long(value))
    kept = {tail: entry for tail, entry in rest.items() if entry}
    if kept:
        txn.put(key, _pack_long(kept))
    else:
        txn.delete(key)


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key after all keys that begin with `prefix` (which must hold a byte other than 0xFF)."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1])


#: What LMDB makes of READERS_MAX readers, in bytes: a header and 64 for each.
_LOCK_FILE_SIZE = 128 + (READERS_MAX - 1) * 64


def _fill_lock_file(path: str) -> None:
    """Write the file of reader slots in full, so that a slot can be taken on a full disk: as a hole, its page fault
    would kill the process. Only before LMDB opens it: closing any descriptor of it drops LMDB's locks.
    """
    fd = plain_file(path, os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(fd).st_blocks * 512 < _LOCK_FILE_SIZE:
            os.pwrite(fd, bytes(_LOCK_FILE_SIZE), 0)
    finally:
        os.close(fd)


def _environment(path: str, *, sync: bool, alone: bool) -> Any:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if alone:
            _fill_lock_file(os.path.join(path, "lock.mdb"))
    except OSError as error:
        raise storage_error(error, "make index", path) from error
    try:
        # No writemap: with a sparse map on a full disk, a page fault would kill the process where a write tells.
        return lmdb.open(
            path,
            map_size=MAP_SIZE,
            sync=sync,
            metasync=sync,
            readahead=False,
            max_readers=READERS_MAX,
            max_spare_txns=64,
            lib_version=LMDB_VERSION,
        )
    except lmdb.Error as error:
        raise index_error(error, f"open index {path}") from error


def index_error(error: Exception, doing: str) -> TickVaultError:
    """Return our error for one of LMDB's."""
    if isinstance(error, lmdb.ReadersFullError):
        return BusyError(f"{doing}: {READERS_MAX} readers are active at once; try again")
    if isinstance(error, lmdb.MapFullError) or "No space left" in str(error) or "SHORT_WRITE" in str(error):
        return DiskFullError(f"{doing}: no space is left for the index; free some space and try again")
    if isinstance(error, _DAMAGE):
        return damaged_index(doing, error)
    return StorageError(f"{doing}: {error}")


_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadTxnError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.BadValsizeError,
    lmdb.DbsFullError,
    lmdb.NotFoundError,
)


def forget_open_environments() -> None:
    """In a forked child: let the parent's environments be opened again here.

    py-lmdb refuses to open a file twice in one process, and has no word for a fork; closing the inherited environment
    would free the parent's reader slots, which are shared. Its check asks ``lmdb._envid.env_keys`` what a file is
    called; here every name gets this process's id, so that what the parent opened is no longer meant.
    """
    from lmdb import _envid

    named: Callable[[str, int], tuple[object, ...]] = _envid.env_keys
    pid = os.getpid()
    _envid.env_keys = lambda path, subdir: tuple((pid, key) for key in named(path, subdir))


def cut_off(path: str) -> bool:
    """Return whether an environment's data file is shorter than its own pages say.

    Reading a page beyond the end of a mapped file kills the process, so this is asked before LMDB opens it. Each of the
    first two pages holds a header of 16 bytes and a state: magic, version, address, map size, two trees of 48 bytes,
    last page, transaction; the state of the later transaction counts.
    """
    try:
        with open(os.path.join(path, "data.mdb"), "rb", opener=plain_file) as file:
            head = file.read(2 * _LMDB_PAGE)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return False
    if not head:
        return False
    states = []
    for start in range(0, min(len(head), 2 * _LMDB_PAGE) - _LMDB_STATE_END + 1, _LMDB_PAGE):
        (magic,) = struct.unpack_from("<I", head, start + 16)
        if magic == _LMDB_MAGIC:
            last_page, transaction = struct.unpack_from("<QQ", head, start + 136)
            states.append((transaction, last_page))
    return not states or size < (max(states)[1] + 1) * _LMDB_PAGE


_SNAPSHOT_TRIES = 1000
_LMDB_PAGE = 4096
_LMDB_STATE_END = 152
_LMDB_MAGIC = 0xBEEFC0DE


class Index:
    """Both environments of an open vault."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.recent_path = os.path.join(folder, "recent")
        self.index_path = os.path.join(folder, "index")
        self.recent: Any = None
        self.index: Any = None

    def open(self, *, alone: bool = False) -> None:
        """Open both environments, making them if missing; `alone` is said by who knows that nobody has them open."""
        self.index = _environment(self.index_path, sync=True, alone=alone)
        self.recent = _environment(self.recent_path, sync=False, alone=alone)

    def probe(self, *, recent: bool = True) -> None:
        """Raise `IntegrityError` if an environment cannot be read."""
        try:
            for environment in (self.index, self.recent) if recent else (self.index,):
                with environment.begin() as txn:
                    key = KEY_TAIL if environment is self.recent else KEY_CHECKPOINT
                    if txn.get(key) is None or not txn.cursor().last():
                        raise IntegrityError("the index lacks its own entries")
                    Tail.unpack(txn.get(key))
            if recent:
                self.snapshot().close()
        except lmdb.Error as error:
            raise index_error(error, "open the index") from error

    def close(self) -> None:
        """Close both environments."""
        for environment in (self.recent, self.index):
            if environment is not None:
                environment.close()
        self.recent = self.index = None

    def discard(self, path: str) -> None:
        """Throw one environment's files away; both must be closed."""
        assert self.recent is None
        shutil.rmtree(path, ignore_errors=True)

    def identity(self, path: str) -> tuple[int, int]:
        """Return (device, inode) of an environment's data file, which a copy does not share."""
        status = os.stat(os.path.join(path, "data.mdb"))
        return status.st_dev, status.st_ino

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one key, as of some moment during the call.

        `recent` is read first: what it lacks was dropped after a checkpoint that the later look into `index` sees.
        """
        try:
            if len(key) > SHORT_KEY_MAX:
                with self.snapshot() as snapshot:
                    return snapshot.get(key)
            txn = self.recent.begin()
            value = txn.get(key)
            txn.abort()
            if value is None:
                txn = self.index.begin()
                value = txn.get(key)
                txn.abort()
        except lmdb.ReadersFullError:
            self.check_readers()
            raise BusyError(f"{READERS_MAX} readers are active at once; try again") from None
        except lmdb.Error as error:
            raise index_error(error, "look up") from error
        return value or None

    def snapshot(self) -> Snapshot:
        """Open one point in time over both environments; close it soon (use ``with``)."""
        seen: set[tuple[Tail, Tail]] = set()
        for _ in range(_SNAPSHOT_TRIES):
            try:
                recent = self.recent.begin()
                index = self.index.begin()
            except lmdb.ReadersFullError:
                self.check_readers()
                continue
            except lmdb.Error as error:
                raise index_error(error, "open the index") from error
            try:
                tail = Tail.unpack(recent.get(KEY_TAIL))
                reached = Tail.unpack(index.get(KEY_CHECKPOINT))
            except lmdb.Error as error:
                raise index_error(error, "read the index") from error
            if tail.base <= reached.sequence <= tail.sequence:
                return Snapshot(recent, index, tail, whole=reached[:5] == tail[:5])
            index.abort()
            recent.abort()
            seen.add((tail, reached))
        if len(seen) == 1:
            # A checkpoint that passed in between would have been seen whole by now.
            raise damaged_index("open the index", "its two levels do not fit together")
        raise BusyError(f"no consistent view of the index in {_SNAPSHOT_TRIES} tries; try again")

    def tail_inside(self, txn: Any) -> Tail:
        """Return the tail as a transaction on `recent` sees it."""
        return Tail.unpack(txn.get(KEY_TAIL))

    def check_readers(self) -> int:
        """Free the slots of readers whose process died; return how many."""
        return int(self.recent.reader_check()) + int(self.index.reader_check())


class MergedScan:
    """Ordered iteration over a `recent` cursor and an `index` cursor, tombstones applied."""

    __slots__ = ("_index", "_recent")

    def __init__(self, recent: Any, index: Any) -> None:
        self._recent = recent
        self._index = index

    def __call__(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over entries with ``start <= key < end``."""
        try:
            upper = _items(self._recent, start, end)
            lower = _items(self._index, start, end)
            upper_item = next(upper, None)
            if upper_item is None:
                # Nothing recent in the range, the usual case of a large listing.
                yield from lower
                return
            lower_item = next(lower, None)
            while upper_item is not None or lower_item is not None:
                if upper_item is None or (lower_item is not None and lower_item[0] < upper_item[0]):
                    assert lower_item is not None
                    yield lower_item
                    lower_item = next(lower, None)
                    continue
                if lower_item is not None and lower_item[0] == upper_item[0]:
                    lower_item = next(lower, None)
                if upper_item[1]:
                    yield upper_item
                upper_item = next(upper, None)
        except lmdb.Error as error:
            raise index_error(error, "read the index") from error


def _items(txn: Any, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the entries of one environment, tombstones included, long keys taken apart.

    LMDB has no checksums: a damaged key would make it begin too late or end too early, so the keys on both sides of the
    range, and the order of those in it, are looked at too.
    """
    cursor = txn.cursor()
    first = start if len(start) <= SHORT_KEY_MAX else long_key(start)
    if not cursor.set_range(first):
        if cursor.last() and cursor.key() >= first:
            raise _out_of_order(cursor.key())
        return
    previous = b""
    if cursor.prev():
        previous = cursor.key()
        if previous >= first:
            raise _out_of_order(previous)
        cursor.next()
    else:
        cursor.first()
    for item in cursor.iternext():
        key = item[0]
        if key <= previous:
            raise _out_of_order(key)
        previous = key
        if len(key) > SHORT_KEY_MAX:
            for rest, value in _long_items(item[1]):
                whole = key[:SHORT_KEY_MAX] + rest
                if start <= whole < end:
                    yield whole, value
            if key >= end:
                return
            continue
        if key >= end:
            if cursor.next() and cursor.key() <= key:
                raise _out_of_order(key)
            return
        yield item


def _out_of_order(key: bytes) -> IntegrityError:
    return damaged_index("list", f"its keys are out of order at {key!r}")


class IndexWriter:
    """The inside of a write transaction on `recent`, reading through to `index`."""

    __slots__ = ("_index", "_recent", "scan")

    def __init__(self, recent: Any, index: Any) -> None:
        self._recent = recent
        self._index = index
        self.scan = MergedScan(recent, index)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of an entry, None if there is none."""
        if len(key) <= SHORT_KEY_MAX:
            value = self._recent.get(key)
            if value is None:
                value = self._index.get(key)
        else:
            value = _get(self._recent, key)
            if value is None:
                value = _get(self._index, key)
        return value or None

    def put(self, key: bytes, value: bytes) -> None:
        """Set an entry; only the interpreter of records may."""
        if len(key) <= SHORT_KEY_MAX:
            self._recent.put(key, value)
        else:
            put_any(self._recent, key, value)

    def delete(self, key: bytes) -> None:
        """Remove an entry, leaving a tombstone until the next checkpoint."""
        put_any(self._recent, key, TOMBSTONE)


class Snapshot:
    """One point in time of the index."""

    __slots__ = ("_index", "_recent", "scan", "tail", "whole")

    def __init__(self, recent: Any, index: Any, tail: Tail, *, whole: bool) -> None:
        self._recent = recent
        self._index = index
        self.tail = tail
        self.whole = whole
        """`index` holds everything: `recent` needs not be asked."""
        self.scan = MergedScan(recent, index)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None if there is none."""
        try:
            value = _get(self._recent, key)
            if value is None:
                value = _get(self._index, key)
        except lmdb.Error as error:
            raise index_error(error, "look up") from error
        return value or None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, each at most `SHORT_KEY_MAX` bytes long; tombstones are empty."""
        try:
            if self.whole:
                return list(map(self._index.get, keys))
            lower = self._index.get
            return [
                lower(key) if value is None else value
                for key, value in zip(keys, map(self._recent.get, keys), strict=True)
            ]
        except lmdb.Error as error:
            raise index_error(error, "look up") from error

    def getters(self) -> tuple[Callable[[bytes], bytes | None], Callable[[bytes], bytes | None]]:
        """Return the lookups of `recent` and `index` by themselves, for loops over keys up to `SHORT_KEY_MAX`."""
        return self._recent.get, self._index.get

    def close(self) -> None:
        """End the read transactions."""
        self._index.abort()
        self._recent.abort()

    def __enter__(self) -> Self:
        """Return the snapshot."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the read transactions; what LMDB found wrong on the way is told as ours."""
        self.close()
        if isinstance(error, lmdb.Error):
            raise index_error(error, "read the index") from error
