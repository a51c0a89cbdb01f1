"""Writing an object: small bodies ride in the commit, large ones are streamed first.

Invariants: the entity tag is the MD5 of the body, as on S3, whichever door wrote it; conditions are checked inside the
commit, so that of any number of writers exactly one wins.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import numpy as np

from tickvault.engine.attribution import current_caller
from tickvault.engine.bodies import BodyStream, Extent
from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.kernels import kernels
from tickvault.engine.record import FRAME_SIZE, Buffer, frame_checksums
from tickvault.errors import InvalidInputError, NotFoundError, PreconditionFailedError
from tickvault.objects import entries, names
from tickvault.objects.blob import Blob
from tickvault.objects.encryption.checksums import seal_checksums
from tickvault.objects.encryption.sealing import Plan, Secret, plan_of
from tickvault.objects.encryption.setting import EncryptionRequest
from tickvault.objects.encryption.stored import info_of
from tickvault.objects.entries import AUX_PLAIN, AUX_VERSIONED, META, META_LOCK, Kind
from tickvault.objects.lock.guard import LOCK_DOCUMENT
from tickvault.objects.lock.retention import UNLOCKED, ObjectLock
from tickvault.objects.lock.verbs import locked_meta
from tickvault.objects.model import BucketInfo, ObjectInfo
from tickvault.security.cipher import Sealer, seal_body, stored_size

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

Result = TypeVar("Result")
#: What a write asks for in place of its bucket's encryption; see `EncryptionRequest.of`.
Encryption = str | Mapping[str, Any] | EncryptionRequest | None

#: Bodies up to this size ride in the commit batch.
INLINE_SIZE_MAX = 256 * 1024
#: `put_many` is atomic up to this many bytes of keys and bodies together; beyond, it raises.
PUT_MANY_SIZE_MAX = 64 * 1024 * 1024
#: S3's limit for one object.
OBJECT_SIZE_MAX = 5 * 1024**4
#: Header, padding, and the lock that a bucket's default adds to the meta.
_RECORD_OVERHEAD = 256
#: A stream is sealed in pieces of this size: larger ones would leave the caches between two steps, bytes.
_SEAL_SIZE = 1 << 20
#: Fewer bodies than this are hashed sooner one by one.
_KERNEL_COUNT_MIN = 4


def as_buffer(data: Any) -> memoryview:
    """Return a flat byte view of any contiguous buffer; text is refused with words."""
    if isinstance(data, str):
        raise InvalidInputError("an object's data is bytes-like, not str; encode it first: data.encode()")
    try:
        view = memoryview(data)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
    except TypeError:
        raise InvalidInputError(
            f"an object's data must be a contiguous bytes-like object, not {type(data).__name__}"
        ) from None
    # What somebody may still change is copied: its checksum and its bytes must be of one moment. A read-only view may
    # lie over writable memory, so only the owner tells.
    return view if type(view.obj) in (bytes, Blob) else memoryview(bytes(view))


def md5(data: Buffer) -> bytes:
    """Return the MD5 digest that S3 uses as entity tag."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def md5_many(bodies: Sequence[memoryview]) -> list[bytes]:
    """Return the MD5 digests of several bodies."""
    compiled = kernels(len(bodies)) if len(bodies) >= _KERNEL_COUNT_MIN else None
    if compiled is None:
        return [md5(body) for body in bodies]
    digests: list[bytes] = compiled.md5_many(b"".join(bodies), np.fromiter(map(len, bodies), np.int64, len(bodies)))
    return digests


def extras_of(
    content_type: str | None,
    metadata: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    tags: Mapping[str, str] | None,
    checksums: Mapping[str, str] | None,
    checksum_type: str | None,
    lock: ObjectLock | None = None,
) -> dict[str, Any]:
    """Return the optional part of a PUT record's meta, checked, without what is empty."""
    extras: dict[str, Any] = {}
    if content_type:
        extras["ct"] = content_type
    if metadata:
        extras["md"] = names.check_metadata(metadata)
    if headers:
        extras["hd"] = {name.lower(): value for name, value in headers.items()}
    if tags:
        extras["tg"] = names.check_tags(tags)
    if checksums:
        extras["cs"] = dict(checksums)
        extras["ck"] = checksum_type or "FULL_OBJECT"
    if lock is not None:
        extras["lk"] = lock.data()
    return extras


def bare_etag(value: str) -> str:
    """Return an entity tag without quotes."""
    return value.strip().strip('"')


def check_conditions(
    txn: Transaction, bucket: BucketInfo, key: bytes, if_match: str | None, if_none_match: str | None
) -> None:
    """Raise unless the conditions of a write hold for the current version.

    Raises
    ------
    PreconditionFailedError
        `if_none_match` and it exists (with that tag), or `if_match` and its tag is another.
    NotFoundError
        `if_match` and there is no object.
    """
    current_key = entries.object_key(bucket.bucket_id, key)
    raw = txn.get(current_key)
    etag = None
    if raw is not None:
        entry = entries.decode_entry(current_key, raw)
        etag = entries.etag_text(entry.etag, entry.etag_parts)
    name = f"{bucket.name}/{key.decode()}"
    if if_none_match is not None and etag is not None and bare_etag(if_none_match) in ("*", etag):
        raise PreconditionFailedError(f"put {name}: if_none_match={if_none_match}, but it exists with etag {etag}")
    if if_match is not None:
        if etag is None:
            raise NotFoundError(f"put {name}: if_match={if_match}, but it does not exist")
        if bare_etag(if_match) not in ("*", etag):
            raise PreconditionFailedError(f"put {name}: if_match={if_match}, but its etag is {etag}")


class Appended(NamedTuple):
    """What a PUT record made."""

    sequence: int
    version_id: str
    lock: ObjectLock


def append_put(
    bucket: Bucket,
    txn: Transaction,
    info: BucketInfo,
    key: bytes,
    meta: bytes,
    body: Buffer,
    frames: bytes | None = None,
    *,
    last: bool = False,
) -> Appended:
    """Append the PUT record as the bucket's versioning and lock ask."""
    lock = UNLOCKED
    expected = txn.next_sequence()
    if LOCK_DOCUMENT in info.documents or META.unpack_from(meta)[2] & META_LOCK:
        meta, lock = locked_meta(bucket, txn, info, key, meta)
        if lock != UNLOCKED:
            # What is to be kept for years is not lost to the next power cut, however the bucket writes.
            txn.strict = True
    versioning = info.versioning
    aux = AUX_PLAIN if versioning == "off" else AUX_VERSIONED if versioning == "enabled" else 0
    sequence, _ = txn.append(Kind.PUT, info.bucket_id, key, meta, body, aux=aux, frames=frames, last=last)
    assert sequence == expected, "a wrapped key is bound to the sequence that its record was to get"
    return Appended(sequence, f"{sequence:016x}" if aux & AUX_VERSIONED else "null", lock)


def put_operation(
    bucket: Bucket,
    key: str,
    body: memoryview,
    *,
    extras: dict[str, Any],
    if_match: str | None,
    if_none_match: str | None,
    etag: bytes | None = None,
    encryption: Encryption = None,
) -> Operation[ObjectInfo]:
    """Return the operation that writes a body of at most `INLINE_SIZE_MAX` bytes, made with `as_buffer`."""
    raw_key = names.encode_key(key)
    size = len(body)
    if size > INLINE_SIZE_MAX:
        raise InvalidInputError(f"{size} bytes do not fit into a commit ({INLINE_SIZE_MAX}); use open_writer")
    plan = plan_of(bucket, encryption)
    if _proves_body(bucket, plan, extras):
        extras = {**extras, "sh": hashlib.sha256(body).digest()}
    stored: Buffer
    kept: Mapping[str, Any] = extras
    if plan is None:
        secret, stored = None, body
        digest = md5(body) if etag is None else etag
    else:
        digest = md5(body) if etag is None and plan.mode == "managed" else (etag or b"")
        digest = plan.etag(digest)
        sealed = seal_body(plan.suite, body)
        secret, stored = plan.close(sealed.data_key), sealed.stored
        kept = seal_checksums(plan.mode, plan.suite, sealed.data_key, extras)
    meta = entries.encode_put_meta(digest, 0, size, (), kept)
    frames = frame_checksums(stored) if len(stored) > FRAME_SIZE else None
    conditional = if_match is not None or if_none_match is not None
    state = bucket.state

    def run(txn: Transaction) -> ObjectInfo:
        info = state.changing(txn)
        if conditional:
            check_conditions(txn, info, raw_key, if_match, if_none_match)
        placed, encrypted = meta, None
        if secret is not None:
            entry = secret.wrap(info.bucket_id, raw_key, txn.next_sequence(), size)
            placed, encrypted = entries.encode_put_meta(digest, 0, size, (), {**kept, "en": entry}), info_of(entry)
        made = append_put(bucket, txn, info, raw_key, placed, stored, frames, last=True)
        return ObjectInfo(
            key,
            size,
            digest.hex(),
            made.sequence,
            txn.now_ns,
            made.version_id,
            True,
            False,
            extras.get("ct"),
            extras.get("md", {}),
            extras.get("hd", {}),
            extras.get("cs", {}),
            extras.get("ck"),
            (),
            len(extras.get("tg", ())),
            *made.lock[:3],
            made.lock is not UNLOCKED,
            encrypted,
            kept.get("sc", {}),
        )

    length = _RECORD_OVERHEAD + len(raw_key) + len(meta) + len(stored) + (len(frames) if frames else 0)
    return Operation(run, length if plan is None else length + plan.room)


def _proves_body(bucket: Bucket, plan: Plan | None, extras: Mapping[str, Any]) -> bool:
    """Return whether a version is written with the SHA-256 of its body, for the audit trail.

    In a bucket with object lock, where the entity tag (MD5) is no proof against whoever wrote the version. Where the
    tag is to tell nothing of the plaintext, neither does this; the cipher proves those bodies.
    """
    locked = "lk" in extras or LOCK_DOCUMENT in bucket.state.info.documents
    return locked and (plan is None or plan.mode == "managed")


def _described(item: object) -> str:
    if isinstance(item, (str, bytes)) or not isinstance(item, Sequence):
        return f"a {type(item).__name__}"
    return f"a {type(item).__name__} of {len(item)}"


class _Item(NamedTuple):
    """One object of a `put_many`, ready for the commit."""

    key: str
    raw_key: bytes
    size: int
    stored: Buffer
    etag: bytes
    meta: bytes
    frames: bytes | None
    secret: Secret | None
    extras: Mapping[str, Any]


def _item(bucket: Bucket, plan: Plan | None, key: str, raw_key: bytes, body: memoryview, digest: bytes) -> _Item:
    extras = {"sh": hashlib.sha256(body).digest()} if _proves_body(bucket, plan, {}) else {}
    stored: Buffer = body
    secret = None
    if plan is not None:
        digest = plan.etag(digest)
        sealed = seal_body(plan.suite, body)
        secret, stored = plan.close(sealed.data_key), sealed.stored
    frames = frame_checksums(stored) if len(stored) > FRAME_SIZE else None
    meta = entries.encode_put_meta(digest, 0, len(body), (), extras)
    return _Item(key, raw_key, len(body), stored, digest, meta, frames, secret, extras)


def put_many(bucket: Bucket, items: Iterable[tuple[str, Any]]) -> list[ObjectInfo]:
    """Write several objects in one commit: all of them or none.

    Raises
    ------
    InvalidInputError
        A body is larger than `INLINE_SIZE_MAX`, or all together larger than `PUT_MANY_SIZE_MAX`.
    """
    if isinstance(items, (Mapping, str, bytes)):
        hint = "; pass its .items()" if isinstance(items, Mapping) else ""
        raise InvalidInputError(f"put_many takes pairs (key, data), not a {type(items).__name__}{hint}")
    named: list[tuple[str, bytes, memoryview]] = []
    total = 0
    for item in items:
        try:
            key, data = item
        except (TypeError, ValueError):
            raise InvalidInputError(f"put_many takes pairs (key, data); one item is {_described(item)}") from None
        raw_key = names.encode_key(key)
        body = as_buffer(data)
        size = len(body)
        if size > INLINE_SIZE_MAX:
            raise InvalidInputError(
                f"put_many: {key!r} has {size} bytes; bodies above {INLINE_SIZE_MAX} are written with put"
            )
        named.append((key, raw_key, body))
        total += _RECORD_OVERHEAD + entries.META.size + len(raw_key) + size + 4 * (size // FRAME_SIZE + 1)
        if total > PUT_MANY_SIZE_MAX:
            # Now, because an iterator may have no end.
            raise InvalidInputError(
                f"put_many is atomic up to {PUT_MANY_SIZE_MAX} bytes; these items take more. Split them"
            )
    if not named:
        return []
    prepared: list[_Item] = []
    plan = plan_of(bucket)
    digests = md5_many([body for _, _, body in named]) if plan is None or plan.mode == "managed" else repeat(b"")
    for (key, raw_key, body), digest in zip(named, digests, strict=False):
        prepared.append(_item(bucket, plan, key, raw_key, body, digest))
    total += sum(len(item.meta) - entries.META.size for item in prepared)
    if plan is not None:
        total += len(prepared) * plan.room + sum(len(item.stored) - item.size for item in prepared)
    state = bucket.state
    # Of items with the same key the last one is the latest.
    last_of = {item.key: number for number, item in enumerate(prepared)}
    repeated = len(last_of) < len(prepared)

    def run(txn: Transaction) -> list[ObjectInfo]:
        info = state.changing(txn)
        made = []
        for key, raw_key, size, stored, digest, meta, frames, secret, extras in prepared:
            placed, encrypted = meta, None
            if secret is not None:
                entry = secret.wrap(info.bucket_id, raw_key, txn.next_sequence(), size)
                placed, encrypted = (
                    entries.encode_put_meta(digest, 0, size, (), {**extras, "en": entry}),
                    info_of(entry),
                )
            sequence, version_id, lock = append_put(bucket, txn, info, raw_key, placed, stored, frames)
            one = ObjectInfo(key, size, digest.hex(), sequence, txn.now_ns, version_id, encryption=encrypted)
            if lock is not UNLOCKED:
                one = one._replace(
                    retention_mode=lock.retention_mode,
                    retain_until_ns=lock.retain_until_ns,
                    legal_hold=lock.legal_hold,
                    locked=True,
                )
            made.append(one)
        if repeated:
            return [one._replace(is_latest=last_of[one.key] == number) for number, one in enumerate(made)]
        return made

    return bucket.store.engine.commit(Operation(run, total))


class ObjectWriter(Generic[Result]):
    """A body of any size on its way into the vault, in constant memory.

    Use as a context manager: leaving it without `commit` gives the body up.  Nothing is visible before the commit.
    """

    def __init__(
        self,
        bucket: Bucket,
        size_hint: int | None,
        finish: Callable[[ObjectWriter[Result], list[Extent], bytes], Operation[Result]],
        extras: dict[str, Any],
        sealer: Sealer | None = None,
        hashed: bool = True,
        proven: bool = False,
    ) -> None:
        self._bucket = bucket
        if sealer is not None and size_hint is not None:
            size_hint = stored_size(max(size_hint, 0))
        self._stream: BodyStream | None = bucket.store.engine.bodies().stream(size_hint)
        self._finish = finish
        self._sealer = sealer
        self._md5 = hashlib.md5(usedforsecurity=False) if hashed else None
        self._sha256 = hashlib.sha256() if proven else None
        self.extras = extras
        self.size = 0
        self._caller = current_caller()
        """Who opened it, and so whose the object is, wherever it is committed."""
        self.may_commit: Callable[[], None] | None = None
        """Raises if whoever opened it may no longer commit."""

    def write(self, data: Any) -> None:
        """Append bytes; may wait for the disk."""
        if self._stream is None:
            raise InvalidInputError("the writer was committed or aborted; open a new one")
        view = as_buffer(data)
        if self.size + len(view) > OBJECT_SIZE_MAX:
            raise InvalidInputError(f"an object has at most {OBJECT_SIZE_MAX} bytes")
        if self._md5 is not None:
            self._md5.update(view)
        if self._sha256 is not None:
            self._sha256.update(view)
        self.size += len(view)
        if self._sealer is None:
            self._stream.write(view)
            return
        for start in range(0, len(view), _SEAL_SIZE):
            self._stream.write(self._sealer.update(view[start : start + _SEAL_SIZE]))

    def md5_hex(self) -> str:
        """Return the MD5 of what was written so far; empty where the entity tag is not made from it."""
        return "" if self._md5 is None else self._md5.hexdigest()

    def set(self, *, checksums: Mapping[str, str] | None = None, checksum_type: str | None = None) -> None:
        """Set what is known only after the body: its checksums."""
        if checksums:
            self.extras["cs"] = dict(checksums)
            self.extras["ck"] = checksum_type or "FULL_OBJECT"

    def commit_operation(self) -> Operation[Result]:
        """Sync the body and return the operation that makes it an object.

        Whoever commits or submits it calls `close` afterwards.
        """
        if self._stream is None:
            raise InvalidInputError("the writer was committed or aborted; open a new one")
        if self.may_commit is not None:
            self.may_commit()
        if self._sealer is not None:
            self._stream.write(self._sealer.finish())
        digest = secrets.token_bytes(16) if self._md5 is None else self._md5.digest()
        if self._sha256 is not None:
            self.extras["sh"] = self._sha256.digest()
        operation = self._finish(self, self._stream.finish(), digest)
        operation.caller = self._caller
        return operation

    def commit(self) -> Result:
        """Make it an object; durable when this returns."""
        try:
            return self._bucket.store.engine.commit(self.commit_operation())
        finally:
            self.close()

    def close(self) -> None:
        """End the writer; without a commit before it, the body is garbage for compaction."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.release()

    abort = close

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the body up unless it was committed."""
        self.close()


def open_writer(
    bucket: Bucket,
    key: str,
    size_hint: int | None,
    *,
    extras: dict[str, Any],
    if_match: str | None,
    if_none_match: str | None,
    encryption: Encryption = None,
) -> ObjectWriter[ObjectInfo]:
    """Return a writer for a body of any size."""
    raw_key = names.encode_key(key)
    state = bucket.state
    plan = plan_of(bucket, encryption)
    sealer = None if plan is None else Sealer.for_object(plan.suite)
    secret = None if plan is None or sealer is None else plan.close(sealer.data_key)

    def finish(writer: ObjectWriter[ObjectInfo], extents: list[Extent], digest: bytes) -> Operation[ObjectInfo]:
        size = writer.size
        written = writer.extras
        kept: Mapping[str, Any] = written
        if plan is not None and sealer is not None:
            kept = seal_checksums(plan.mode, plan.suite, sealer.data_key, written)
        meta = entries.encode_put_meta(digest, 0, size, extents, kept)

        def run(txn: Transaction) -> ObjectInfo:
            info = state.changing(txn)
            if if_match is not None or if_none_match is not None:
                check_conditions(txn, info, raw_key, if_match, if_none_match)
            placed, encrypted = meta, None
            if secret is not None:
                entry = secret.wrap(info.bucket_id, raw_key, txn.next_sequence(), size)
                placed = entries.encode_put_meta(digest, 0, size, extents, {**kept, "en": entry})
                encrypted = info_of(entry)
            made = append_put(bucket, txn, info, raw_key, placed, b"", last=True)
            return ObjectInfo(
                key,
                size,
                digest.hex(),
                made.sequence,
                txn.now_ns,
                made.version_id,
                content_type=written.get("ct"),
                metadata=written.get("md", {}),
                headers=written.get("hd", {}),
                checksums=written.get("cs", {}),
                checksum_type=written.get("ck"),
                tag_count=len(written.get("tg", ())),
                retention_mode=made.lock.retention_mode,
                retain_until_ns=made.lock.retain_until_ns,
                legal_hold=made.lock.legal_hold,
                locked=made.lock is not UNLOCKED,
                encryption=encrypted,
                sealed_checksums=kept.get("sc", {}),
            )

        length = _RECORD_OVERHEAD + len(raw_key) + len(meta)
        return Operation(run, length if secret is None else length + secret.plan.room)

    hashed = plan is None or plan.mode == "managed"
    return ObjectWriter(bucket, size_hint, finish, extras, sealer, hashed, _proves_body(bucket, plan, extras))
