"""Multipart uploads: parts are bodies of their own; completing one strings their extents together without copying.

Invariants: a part is visible only through its upload; completing and removing the upload are one commit; a part's
bytes become the object's or garbage, never both.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tickvault.engine.bodies import Extent
from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.index import Reader
from tickvault.errors import InvalidInputError, TickVaultError, UploadNotFoundError
from tickvault.objects import entries, names
from tickvault.objects.encryption.checksums import open_checksums, seal_checksums
from tickvault.objects.encryption.customer_key import CustomerKeyError, check_key
from tickvault.objects.encryption.sealing import data_key_of, plan_of, upload_data_key, upload_secret
from tickvault.objects.encryption.setting import Mode
from tickvault.objects.encryption.stored import PartSalt, info_of
from tickvault.objects.entries import Kind
from tickvault.objects.get import retrying
from tickvault.objects.listing import Rollup, check_limit, is_common
from tickvault.objects.lock.guard import LOCK_DOCUMENT
from tickvault.objects.lock.retention import UNLOCKED, ObjectLock
from tickvault.objects.lock.verbs import check_future, no_lock_error
from tickvault.objects.lookup import read_record
from tickvault.objects.model import ObjectInfo, PartInfo, PartPage, UploadInfo, UploadPage
from tickvault.objects.put import Encryption, ObjectWriter, append_put, bare_etag, check_conditions, extras_of
from tickvault.security.cipher import AES_256_GCM, Sealer, suite_with_id

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

PART_NUMBER_MAX = 10_000
#: S3's smallest part, the last one excepted.
PART_SIZE_MIN = 5 * 1024 * 1024
_RECORD_SIZE = 256


class PartError(InvalidInputError):
    """A list of parts cannot be completed; `s3_code` is what S3 calls it."""

    def __init__(self, message: str, s3_code: str) -> None:
        super().__init__(message)
        self.s3_code = s3_code


def upload_not_found(bucket: str, key: str, upload_id: str) -> UploadNotFoundError:
    """Return the error of an upload that is not in progress."""
    return UploadNotFoundError(
        f"upload {upload_id!r} of {bucket}/{key} does not exist: it was completed, aborted, or never begun"
    )


def _upload_id(sequence: int, token: str) -> str:
    return f"{sequence:016x}{token}"


def _upload_sequence(upload_id: str) -> int:
    try:
        return int(upload_id[:16], 16) if len(upload_id) == 32 else -1
    except ValueError:
        return -1


def _find_upload(reader: Reader, bucket: Bucket, key: str, raw_key: bytes, upload_id: str) -> UploadInfo:
    sequence = _upload_sequence(upload_id)
    if sequence >= 0:
        index_key = entries.upload_key(bucket.bucket_id, raw_key, sequence)
        raw = reader.get(index_key)
        if raw is not None:
            info = _decode_upload(key, sequence, entries.decode_document(index_key, raw).data)
            if info.upload_id == upload_id:
                return info
    raise upload_not_found(bucket.name, key, upload_id)


def _decode_upload(key: str, sequence: int, data: Mapping[str, Any]) -> UploadInfo:
    return UploadInfo(
        key,
        _upload_id(sequence, data["tok"]),
        data["t"],
        data.get("ct"),
        data.get("md", {}),
        data.get("hd", {}),
        data.get("ca"),
        data.get("ck"),
        data.get("tg", {}),
        data.get("lk"),
        data.get("en"),
    )


def create_upload(
    bucket: Bucket,
    key: str,
    *,
    metadata: Mapping[str, str] | None,
    content_type: str | None,
    headers: Mapping[str, str] | None,
    tags: Mapping[str, str] | None,
    checksum_algorithm: str | None,
    checksum_type: str | None,
    lock: ObjectLock | None,
    encryption: Encryption = None,
) -> UploadInfo:
    """Begin an upload; a lock asked for is what its object gets when it is complete.

    How its parts are encrypted is settled here, and so is the data key that all of them share.
    """
    raw_key = names.encode_key(key)
    plan = plan_of(bucket, encryption)
    secret = None if plan is None else plan.close(plan.suite.new_key())
    data = extras_of(content_type, metadata, headers, tags, None, None, lock)
    data["tok"] = f"{bucket.store.engine.host.random_u64():016x}"
    if checksum_algorithm:
        data["ca"] = checksum_algorithm
    if checksum_type:
        data["ck"] = checksum_type
    meta = entries.pack(data)
    state = bucket.state

    def run(txn: Transaction) -> UploadInfo:
        info = state.changing(txn)
        if lock is not None:
            if info.object_lock is None:
                raise no_lock_error(bucket.name)
            check_future(bucket, txn, key, lock)
        placed, shown = meta, data
        if secret is not None:
            shown = {**data, "en": secret.wrap_upload(info.bucket_id, raw_key, txn.next_sequence())}
            placed = entries.pack(shown)
        sequence, _ = txn.append(Kind.UPLOAD, info.bucket_id, raw_key, placed)
        return _decode_upload(key, sequence, {"t": txn.now_ns, **shown})

    room = 0 if plan is None else plan.room
    return bucket.store.engine.commit(Operation(run, _RECORD_SIZE + len(raw_key) + len(meta) + room))


def upload_info(bucket: Bucket, key: str, upload_id: str) -> UploadInfo:
    """Return what is known of an upload in progress."""
    with bucket.store.engine.snapshot() as snapshot:
        return _find_upload(snapshot, bucket, key, names.encode_key(key), upload_id)


def abort_upload(bucket: Bucket, key: str, upload_id: str) -> None:
    """Give an upload and its parts up."""
    raw_key = names.encode_key(key)
    state = bucket.state

    def run(txn: Transaction) -> None:
        info = state.changing(txn)
        _find_upload(txn, bucket, key, raw_key, upload_id)
        txn.append(Kind.UPLOAD_REMOVE, info.bucket_id, raw_key, b"", aux=_upload_sequence(upload_id))

    bucket.store.engine.commit(Operation(run, _RECORD_SIZE + len(raw_key), frees=True))


def open_part_writer(
    bucket: Bucket,
    key: str,
    upload_id: str,
    part_number: int,
    size_hint: int | None,
    checksums: Mapping[str, str] | None,
    customer_key: bytes | None = None,
) -> ObjectWriter[PartInfo]:
    """Return a writer for one part.

    Raises
    ------
    CustomerKeyError, AccessDeniedError
        The customer's key is missing, or another one than the upload was begun with.
    """
    if not 1 <= part_number <= PART_NUMBER_MAX:
        raise InvalidInputError(f"part_number must be between 1 and {PART_NUMBER_MAX}, was {part_number}")
    raw_key = names.encode_key(key)
    upload = upload_info(bucket, key, upload_id)
    state = bucket.state
    sealer, hashed = None, True
    mode: Mode = "managed"
    suite = AES_256_GCM
    marks: dict[str, Any] = {}
    if upload.encryption is not None:
        found = info_of(upload.encryption)
        check_key(customer_key, found.customer_check)
        secret = upload_secret(bucket, raw_key, _upload_sequence(upload_id), upload.encryption)
        suite = secret.plan.suite
        sealer = Sealer.for_part(suite, data_key_of(secret.inner, found, suite, customer_key))
        mode = found.mode
        hashed = mode == "managed"
        marks["en"] = {"s": suite.id, "n": sealer.salt}
    else:
        check_key(customer_key, b"")

    def finish(writer: ObjectWriter[PartInfo], extents: list[Extent], digest: bytes) -> Operation[PartInfo]:
        size = writer.size
        checks = writer.extras.get("cs", {})
        extras: Mapping[str, Any] = {"nr": part_number, "cs": checks, **marks}
        if "sh" in writer.extras:
            extras = {**extras, "sh": writer.extras["sh"]}
        if sealer is not None:
            extras = seal_checksums(mode, suite, sealer.data_key, extras, sealer.salt)
        meta = entries.encode_put_meta(digest, 0, size, extents, extras)

        def run(txn: Transaction) -> PartInfo:
            info = state.changing(txn)
            _find_upload(txn, bucket, key, raw_key, upload_id)
            txn.append(Kind.PART, info.bucket_id, raw_key, meta, aux=_upload_sequence(upload_id))
            return PartInfo(part_number, size, digest.hex(), txn.now_ns, checks)

        return Operation(run, _RECORD_SIZE + len(raw_key) + len(meta))

    locked = upload.lock is not None or LOCK_DOCUMENT in bucket.state.info.documents
    writer = ObjectWriter(bucket, size_hint, finish, {}, sealer, hashed, locked and hashed)
    writer.set(checksums=checksums)
    return writer


class _Part(NamedTuple):
    """An uploaded part, and where its bytes are."""

    info: PartInfo
    extents: tuple[Extent, ...]
    salt: bytes
    """Of its key; empty if it is not encrypted."""
    sealed: Mapping[str, bytes]
    """Its checksums, where they are stored sealed."""
    sha256: bytes
    """Of its body, where its object is to be proven by it; else empty."""


def _parts(bucket: Bucket, reader: Reader, raw_key: bytes, upload_sequence: int, first: int = 1) -> list[_Part]:
    """Return the parts of an upload from number `first` on."""
    found = []
    low, high = entries.part_key(upload_sequence, first), entries.part_key(upload_sequence + 1, 0)
    for index_key, raw in list(reader.scan(low, high)):
        entry = entries.decode_entry(index_key, raw)
        record, _ = read_record(bucket.store.engine.segments, entry, raw_key, bucket.bucket_id)
        meta = entries.decode_put_meta(record.meta)
        part = PartInfo(meta.extras["nr"], meta.size, meta.etag.hex(), entry.modified_ns, meta.extras.get("cs", {}))
        extras = meta.extras
        salt = extras.get("en", {}).get("n", b"")
        found.append(_Part(part, meta.extents, salt, extras.get("sc", {}), extras.get("sh", b"")))
    return found


def list_parts_page(
    bucket: Bucket,
    key: str,
    upload_id: str,
    part_number_marker: int,
    limit: int,
    customer_key: bytes | None = None,
) -> PartPage:
    """Return one page of an upload's parts; may wait for a key service, where their checksums are sealed.

    Raises
    ------
    CustomerKeyError, AccessDeniedError
        The customer's key is another one than the upload was begun with; without one, checksums are not shown.
    """
    check_limit(limit)
    raw_key = names.encode_key(key)
    sequence = _upload_sequence(upload_id)

    def attempt() -> tuple[UploadInfo, list[_Part]]:
        with bucket.store.engine.snapshot() as snapshot:
            upload = _find_upload(snapshot, bucket, key, raw_key, upload_id)
            return upload, _parts(bucket, snapshot, raw_key, sequence, part_number_marker + 1)

    upload, parts = retrying(attempt, key)
    if customer_key is not None:
        check_key(customer_key, b"" if upload.encryption is None else info_of(upload.encryption).customer_check)
    more = len(parts) > limit
    shown = parts[:limit]
    page = [part.info for part in shown]
    if upload.encryption is not None and any(part.sealed for part in shown):
        page = _with_checksums(bucket, raw_key, sequence, upload.encryption, shown, customer_key)
    return PartPage(page, page[-1].part_number if more and page else None)


def _with_checksums(
    bucket: Bucket,
    key: bytes,
    sequence: int,
    encryption: Mapping[str, Any],
    parts: Sequence[_Part],
    customer_key: bytes | None,
) -> list[PartInfo]:
    """Return parts with their sealed checksums opened, where the key is at hand."""
    try:
        data_key = upload_data_key(bucket, key, sequence, encryption, customer_key)
    except TickVaultError:
        return [part.info for part in parts]
    suite = suite_with_id(encryption["s"])
    return [
        part.info._replace(checksums=open_checksums(suite, data_key, part.sealed, part.salt))
        if part.sealed
        else part.info
        for part in parts
    ]


def complete_upload(
    bucket: Bucket,
    key: str,
    upload_id: str,
    parts: Sequence[tuple[int, str]],
    *,
    checksums: Mapping[str, str] | None,
    checksum_type: str | None,
    if_match: str | None,
    if_none_match: str | None,
    customer_key: bytes | None = None,
) -> ObjectInfo:
    """Make an object of the parts named.

    Raises
    ------
    CustomerKeyError, AccessDeniedError
        There are checksums to keep and no customer's key that the upload was begun with; or it is another one.
    PartError
        The list is empty or out of order, names a part that is not there, or one too small that is not the last.
    UploadNotFoundError
        The upload is not in progress.
    """
    raw_key = names.encode_key(key)
    if not parts:
        raise PartError("complete needs at least one part", "InvalidRequest")
    if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(parts)):
        raise PartError("the part numbers must be ascending", "InvalidPartOrder")
    sequence = _upload_sequence(upload_id)
    state = bucket.state
    engine = bucket.store.engine
    sealed = upload_info(bucket, key, upload_id).encryption
    secret = None
    checks: Mapping[str, Any] = extras_of(None, None, None, None, checksums, checksum_type)
    if sealed is None:
        check_key(customer_key, b"")
    else:
        secret = upload_secret(bucket, raw_key, sequence, sealed)
        found, suite = info_of(sealed), secret.plan.suite
        if found.mode == "customer" and customer_key is None:
            if checks:
                raise CustomerKeyError(
                    f"complete {key!r}: its checksums are kept under the customer's key; give customer_key, or none"
                )
        else:
            data_key = data_key_of(secret.inner, found, suite, customer_key)
            checks = seal_checksums(found.mode, suite, data_key, checks)

    def run(txn: Transaction) -> ObjectInfo:
        info = state.changing(txn)
        upload = _find_upload(txn, bucket, key, raw_key, upload_id)
        check_conditions(txn, info, raw_key, if_match, if_none_match)
        uploaded = {part.info.part_number: part for part in _parts(bucket, txn, raw_key, sequence)}
        chosen = []
        for number, (part_number, etag) in enumerate(parts):
            found = uploaded.get(part_number)
            if found is None or found.info.etag != bare_etag(etag):
                raise PartError(f"part {part_number} with etag {etag} was not uploaded", "InvalidPart")
            if found.info.size < PART_SIZE_MIN and number < len(parts) - 1:
                raise PartError(
                    f"part {part_number} has {found.info.size} bytes; only the last may be under {PART_SIZE_MIN}",
                    "EntityTooSmall",
                )
            chosen.append(found)
        digest = hashlib.md5(b"".join(bytes.fromhex(part.info.etag) for part in chosen), usedforsecurity=False).digest()
        sizes = [part.info.size for part in chosen]
        size = sum(sizes)
        extras = extras_of(upload.content_type, upload.metadata, upload.headers, upload.tags, None, None)
        extras.update(checks)
        if upload.lock is not None:
            extras["lk"] = upload.lock
        if all(part.sha256 for part in chosen):
            extras["sh"] = hashlib.sha256(b"".join(part.sha256 for part in chosen)).digest()
        extras["ps"] = sizes
        extents = [extent for part in chosen for extent in part.extents]
        encrypted = None
        if secret is not None:
            salts = [PartSalt(part.info.part_number, part.salt) for part in chosen]
            extras["en"] = secret.wrap(info.bucket_id, raw_key, txn.next_sequence(), size, salts, sizes)
            encrypted = info_of(extras["en"])
        meta = entries.encode_put_meta(digest, len(chosen), size, extents, extras)
        made = append_put(bucket, txn, info, raw_key, meta, b"")
        txn.append(Kind.UPLOAD_REMOVE, info.bucket_id, raw_key, b"", aux=sequence)
        return ObjectInfo(
            key,
            size,
            entries.etag_text(digest, len(chosen)),
            made.sequence,
            txn.now_ns,
            made.version_id,
            content_type=upload.content_type,
            metadata=upload.metadata,
            headers=upload.headers,
            checksums=dict(checksums or {}),
            checksum_type=checks.get("ck"),
            part_sizes=tuple(sizes),
            tag_count=len(upload.tags),
            retention_mode=made.lock.retention_mode,
            retain_until_ns=made.lock.retain_until_ns,
            legal_hold=made.lock.legal_hold,
            locked=made.lock is not UNLOCKED,
            encryption=encrypted,
            sealed_checksums=checks.get("sc", {}),
        )

    # A part has one extent, or a few where its body crossed segments; 48 packed bytes each and 9 for its size.
    length = 4 * _RECORD_SIZE + 2 * len(raw_key) + 4096 + 256 * len(parts) + len(entries.pack(checks))
    length += secret.plan.room if secret is not None else 0
    return retrying(lambda: engine.commit(Operation(run, length)), key)


def list_uploads_page(
    bucket: Bucket,
    prefix: str = "",
    delimiter: str = "",
    key_marker: str = "",
    upload_id_marker: str = "",
    limit: int = 1000,
) -> UploadPage:
    """Return one page of uploads in progress: by key, then in the order they were begun."""
    check_limit(limit)
    uploads: list[UploadInfo] = []
    prefixes: list[str] = []
    raw_prefix = names.encode_text("prefix", prefix)
    raw_delimiter = names.encode_text("delimiter", delimiter)
    after = names.encode_text("key_marker", key_marker)
    head = entries.bucket_prefix(b"U", bucket.bucket_id)
    if after and upload_id_marker:
        start = entries.upload_key(bucket.bucket_id, after, max(_upload_sequence(upload_id_marker), 0)) + b"\0"
    else:
        start = head + after + b"\x01" if after else head
    last: tuple[str, str | None] = (key_marker, upload_id_marker or None)
    with bucket.store.engine.snapshot() as snapshot:
        bucket.state.inside(snapshot)
        rollup = Rollup(snapshot, b"U", bucket.bucket_id, raw_prefix, raw_delimiter)
        shown = after if not upload_id_marker and is_common(after, raw_prefix, raw_delimiter) else None
        for index_key, value in rollup.items(start, shown):
            if len(uploads) + len(prefixes) >= limit:
                return UploadPage(uploads, prefixes, *last)
            if value is None:
                prefixes.append(index_key.decode())
                last = (prefixes[-1], None)
            else:
                key, sequence = entries.split_versioned(index_key)
                data = entries.decode_document(index_key, value).data
                uploads.append(_decode_upload(key.decode(), sequence, data))
                last = (uploads[-1].key, uploads[-1].upload_id)
    return UploadPage(uploads, prefixes, None, None)
