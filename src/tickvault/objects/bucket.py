"""A bucket, as a small handle over the verbs; each verb is a function in the module of its name.

Invariants: a handle holds no state of the bucket but a cache checked against the index; it may be used from any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from tickvault.audit.actor import Actor, process_actor
from tickvault.audit.record import Category
from tickvault.engine.commit import Operation, Transaction
from tickvault.errors import InvalidInputError, TickVaultError
from tickvault.objects import attributes, copying, delete, entries, get, get_many, listing, multipart, names, put
from tickvault.objects.blob import Blob
from tickvault.objects.encryption.customer_key import check_key
from tickvault.objects.encryption.key_uses import Progress, check_setting
from tickvault.objects.encryption.rewrapping import RewrapReport, rewrap
from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT
from tickvault.objects.entries import Kind
from tickvault.objects.get import ObjectReader
from tickvault.objects.lock import verbs as lock_verbs
from tickvault.objects.lock.guard import LOCK_DOCUMENT
from tickvault.objects.lock.retention import BucketLock, ObjectLock, bucket_lock, requested_lock
from tickvault.objects.model import (
    BucketInfo,
    DeleteResult,
    Durability,
    ListPage,
    ObjectInfo,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
    VersionPage,
)
from tickvault.objects.put import INLINE_SIZE_MAX, Encryption, ObjectWriter
from tickvault.objects.ranges import get_ranges
from tickvault.objects.state import AUDIT_DOCUMENT, BucketState, encode_bucket
from tickvault.objects.versions import versions

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

_READ_SIZE = 1 << 20


class Bucket:
    """One bucket of a vault."""

    def __init__(self, store: ObjectStore, state: BucketState) -> None:
        self.store = store
        self.state = state
        self.name = state.name
        self.bucket_id = state.info.bucket_id
        self.object_prefix = entries.bucket_prefix(b"O", self.bucket_id)
        self.embedded = True
        """It is used through the Python API; a door that audits its own requests says otherwise."""
        self.actor: Actor | None = None
        """Who uses it, where that is not simply this process."""

    def __repr__(self) -> str:
        """Show the name."""
        return f"<Bucket {self.name!r} of {self.store.path}>"

    @property
    def info(self) -> BucketInfo:
        """The bucket's settings as of now; raises `BucketNotFoundError` once it was deleted."""
        return self.state.current(self.store)

    # -- objects

    def put(
        self,
        key: str,
        data: Any,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        checksums: Mapping[str, str] | None = None,
        checksum_type: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        retention_mode: str | None = None,
        retain_until: datetime | int | None = None,
        legal_hold: bool = False,
        encryption: Encryption = None,
    ) -> ObjectInfo:
        """Write an object and return once it is durable.

        Parameters
        ----------
        key : str
            1 to 1,024 bytes of UTF-8.
        data : bytes-like or binary file
            The body; a file is read to its end in pieces.
        metadata : mapping of str to str, optional
            User metadata, up to 2 KiB.
        if_match : str, optional
            Write only over the version with this entity tag (``"*"``: any).
        if_none_match : str, optional
            ``"*"``: write only if there is no such object.
        retention_mode : {"GOVERNANCE", "COMPLIANCE"}, optional
            Keep this version until `retain_until`, in a bucket with object lock. COMPLIANCE yields to nobody.
        retain_until : datetime or int, optional
            With a time zone, or nanoseconds since 1970.
        legal_hold : bool
            Keep this version until the hold is taken off.
        encryption : str, mapping or None
            What it is encrypted with, in place of the bucket's setting: a suite, or a mapping with some of ``suite``,
            ``key`` (a key id) and ``customer_key`` (32 bytes, which every read has to bring).

        Raises
        ------
        PreconditionFailedError
            A condition does not hold; of several writers with ``if_none_match="*"`` exactly one succeeds.
        InvalidInputError
            The key, metadata or tags break a rule.
        DiskFullError, PoisonedError
            Nothing was written.
        """
        lock = requested_lock(retention_mode, retain_until, legal_hold)
        extras = put.extras_of(content_type, metadata, headers, tags, checksums, checksum_type, lock)
        if hasattr(data, "read"):
            return self._put_file(key, data, extras, if_match, if_none_match, encryption)
        body = put.as_buffer(data)
        if len(body) <= INLINE_SIZE_MAX:
            return self.store.engine.commit(
                put.put_operation(
                    self,
                    key,
                    body,
                    extras=extras,
                    if_match=if_match,
                    if_none_match=if_none_match,
                    encryption=encryption,
                )
            )
        with put.open_writer(
            self,
            key,
            len(body),
            extras=extras,
            if_match=if_match,
            if_none_match=if_none_match,
            encryption=encryption,
        ) as writer:
            writer.write(body)
            return writer.commit()

    def _put_file(
        self,
        key: str,
        file: Any,
        extras: dict[str, Any],
        if_match: str | None,
        if_none_match: str | None,
        encryption: Encryption,
    ) -> ObjectInfo:
        first = file.read(INLINE_SIZE_MAX + 1)
        while first and len(first) <= INLINE_SIZE_MAX:
            # A pipe or socket gives what it has; only an empty read is the end.
            more = file.read(INLINE_SIZE_MAX + 1 - len(first))
            if not more:
                break
            first += more
        if len(first) <= INLINE_SIZE_MAX:
            return self.store.engine.commit(
                put.put_operation(
                    self,
                    key,
                    put.as_buffer(first),
                    extras=extras,
                    if_match=if_match,
                    if_none_match=if_none_match,
                    encryption=encryption,
                )
            )
        with put.open_writer(
            self, key, None, extras=extras, if_match=if_match, if_none_match=if_none_match, encryption=encryption
        ) as writer:
            while first:
                writer.write(first)
                first = file.read(_READ_SIZE)
            return writer.commit()

    def put_operation(
        self,
        key: str,
        data: Any,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        checksums: Mapping[str, str] | None = None,
        checksum_type: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        etag: str | None = None,
        lock: ObjectLock | None = None,
        encryption: Encryption = None,
    ) -> Operation[ObjectInfo]:
        """Return the write of a body of at most `INLINE_SIZE_MAX` bytes, for `ObjectStore.submit`.

        `etag` is the body's MD5 in hex, when the caller computed it already.
        """
        return put.put_operation(
            self,
            key,
            put.as_buffer(data),
            extras=put.extras_of(content_type, metadata, headers, tags, checksums, checksum_type, lock),
            if_match=if_match,
            if_none_match=if_none_match,
            etag=None if etag is None else bytes.fromhex(etag),
            encryption=encryption,
        )

    def open_writer(
        self,
        key: str,
        size_hint: int | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        checksums: Mapping[str, str] | None = None,
        checksum_type: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        lock: ObjectLock | None = None,
        encryption: Encryption = None,
    ) -> ObjectWriter[ObjectInfo]:
        """Return a writer that streams a body of any size; a right `size_hint` keeps it in one piece on disk."""
        return put.open_writer(
            self,
            key,
            size_hint,
            extras=put.extras_of(content_type, metadata, headers, tags, checksums, checksum_type, lock),
            if_match=if_match,
            if_none_match=if_none_match,
            encryption=encryption,
        )

    def put_many(self, items: Iterable[tuple[str, Any]]) -> list[ObjectInfo]:
        """Write several objects in one commit, all of them or none: up to 64 MiB together, 256 KiB each."""
        return put.put_many(self, items)

    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        version_id: str | None = None,
        customer_key: bytes | None = None,
    ) -> Blob:
        """Return the bytes [start, end) of an object, verified; without copying, unless it is encrypted.

        Raises
        ------
        NotFoundError
            There is no such object (or version: `VersionNotFoundError`).
        IntegrityError
            The stored bytes are damaged, or not what was written there.
        AccessDeniedError
            The key that it is encrypted with is disabled, destroyed or not there.
        """
        found = get.get(self, key, start, end, version_id, customer_key)
        if self.embedded and self.state.audits_reads(self.store):
            self._audit_read("GetObject", key, version_id, len(found))
        return found

    def get_ranges(
        self,
        key: str,
        ranges: Sequence[tuple[int, int | None]],
        *,
        version_id: str | None = None,
        customer_key: bytes | None = None,
    ) -> list[Blob]:
        """Return several ranges [start, end) of one object, all of the same version; raises as `get` does."""
        found = get_ranges(self, key, ranges, version_id, customer_key)
        if self.embedded and self.state.audits_reads(self.store):
            self._audit_read("GetObject", key, version_id, sum(map(len, found)))
        return found

    def get_many(self, keys: Iterable[str]) -> list[Blob]:
        """Return several objects as of one point in time; raises `NotFoundError` if one is missing."""
        if not (self.embedded and self.state.audits_reads(self.store)):
            return get_many.get_many(self, keys)
        keys = list(keys)
        found = get_many.get_many(self, keys)
        for key, blob in zip(keys, found, strict=True):
            self._audit_read("GetObject", key, None, len(blob))
        return found

    def read(self, key: str, *, version_id: str | None = None, customer_key: bytes | None = None) -> ObjectReader:
        """Return a reader of one version, for streaming and ranges."""
        found = get.read(self, key, version_id, customer_key)
        if self.embedded and self.state.audits_reads(self.store):
            # What of it is read, the reader's owner knows; that it may be read is told now.
            self._audit_read("GetObject", key, version_id, found.info.size)
        return found

    def read_resident(
        self, key: str, *, version_id: str | None = None, customer_key: bytes | None = None
    ) -> ObjectReader | None:
        """Return a reader if looking the version up cannot wait for the disk, else None: for event loops."""
        return get.read_resident(self, key, version_id, customer_key)

    def head(self, key: str, *, version_id: str | None = None, customer_key: bytes | None = None) -> ObjectInfo:
        """Return what is known of an object.

        Checksums of what is encrypted under a key of its own, or a customer's, are sealed: without that key they are
        not among it. A door opens them itself, where it is asked for them and may wait (`get.with_checksums`).

        Raises
        ------
        AccessDeniedError, CustomerKeyError
            `customer_key` is not the one it was written with, or it was written without one.
        """
        found = get.head(self, key, version_id)
        if customer_key is not None:
            check_key(customer_key, b"" if found.encryption is None else found.encryption.customer_check)
        if found.sealed_checksums and self.embedded:
            found = get.with_checksums(self, found, customer_key)
        if self.embedded and self.state.audits_reads(self.store):
            self._audit_read("HeadObject", key, version_id, 0)
        return found

    def delete(
        self,
        key: str,
        *,
        version_id: str | None = None,
        if_match: str | None = None,
        bypass_governance: bool = False,
    ) -> DeleteResult:
        """Delete an object, or one version of it for good; deleting what is not there is no error.

        Raises
        ------
        LockedError
            A retention or a legal hold keeps the version. `bypass_governance` lifts GOVERNANCE, and nothing else.
        """
        return self.store.engine.commit(
            delete.delete_operation(self, key, version_id, if_match, bypass_governance=bypass_governance)
        )

    def delete_operation(
        self,
        key: str,
        *,
        version_id: str | None = None,
        if_match: str | None = None,
        bypass_governance: bool = False,
    ) -> Operation[DeleteResult]:
        """Return a delete for `ObjectStore.submit`."""
        return delete.delete_operation(self, key, version_id, if_match, bypass_governance=bypass_governance)

    def delete_many(
        self, keys: Sequence[str | tuple[str, str | None]], *, bypass_governance: bool = False
    ) -> list[DeleteResult | TickVaultError]:
        """Delete several keys, or (key, version_id) pairs, in one commit; refusals are in the list as errors."""
        return delete.delete_many(self, keys, bypass_governance=bypass_governance)

    def copy(
        self,
        key: str,
        dest_key: str,
        *,
        dest_bucket: Bucket | None = None,
        version_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        checksums: Mapping[str, str] | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        source_if_match: str | None = None,
        retention_mode: str | None = None,
        retain_until: datetime | int | None = None,
        legal_hold: bool = False,
        encryption: Encryption = None,
        source_customer_key: bytes | None = None,
    ) -> ObjectInfo:
        """Copy an object; `metadata` None keeps metadata, content type and headers, `tags` None keeps the tags."""
        return copying.copy(
            self,
            key,
            dest_bucket or self,
            dest_key,
            version_id=version_id,
            metadata=metadata,
            content_type=content_type,
            headers=headers,
            tags=tags,
            checksums=checksums,
            if_match=if_match,
            if_none_match=if_none_match,
            source_if_match=source_if_match,
            lock=requested_lock(retention_mode, retain_until, legal_hold),
            encryption=encryption,
            source_customer_key=source_customer_key,
        )

    # -- listings

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        """Iterate over the versions and delete markers of one key, newest first."""
        return versions(self, key)

    def list(self, prefix: str = "", delimiter: str = "", start_after: str = "") -> Iterator[ObjectInfo | str]:
        """Iterate over objects after `start_after` in key order; with a delimiter, common prefixes come as `str`."""
        if self.embedded and self.state.audits_reads(self.store):
            self._audit_read("ListObjectsV2", prefix, None, 0)
        return listing.iterate(self, prefix, delimiter, start_after)

    def list_page(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        start_after: str = "",
        limit: int = 1000,
        locks: bool = True,
    ) -> ListPage:
        """Return one page of a listing; without `locks`, what is locked does not say so, and comes a little sooner."""
        page = listing.list_page(self, prefix, delimiter, start_after, limit, locks=locks)
        if self.embedded and self.state.audits_reads(self.store):
            self._audit_read("ListObjectsV2", prefix, None, 0)
        return page

    def list_versions_page(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_id_marker: str = "",
        limit: int = 1000,
        locks: bool = True,
    ) -> VersionPage:
        """Return one page of versions and delete markers: by key, newest first; `locks` as in `list_page`."""
        return listing.list_versions_page(self, prefix, delimiter, key_marker, version_id_marker, limit, locks=locks)

    # -- tags

    def get_tags(self, key: str, *, version_id: str | None = None) -> dict[str, str]:
        """Return the tags of a version."""
        return attributes.get_tags(self, key, version_id)

    def set_tags(self, key: str, tag_set: Mapping[str, str], *, version_id: str | None = None) -> ObjectInfo:
        """Replace the tags of a version; an empty mapping removes them."""
        return attributes.set_tags(self, key, tag_set, version_id)

    def set_headers(self, key: str, headers: Mapping[str, str | None], *, version_id: str | None = None) -> ObjectInfo:
        """Merge into the stored headers of a version, without a new version; None removes one."""
        return attributes.set_headers(self, key, headers, version_id)

    # -- locks

    def retain(
        self,
        key: str,
        version_id: str | None,
        mode: str | None,
        until: datetime | int | None,
        *,
        bypass_governance: bool = False,
    ) -> ObjectInfo:
        """Set or extend the retention of a version; `version_id` None is the current one.

        Parameters
        ----------
        mode : {"GOVERNANCE", "COMPLIANCE"} or None
            None, with `until` None, lifts a GOVERNANCE retention, which has to be bypassed.
        until : datetime or int or None
            With a time zone, or nanoseconds since 1970.

        Raises
        ------
        LockedError
            The version has a retention that this would shorten, lift or weaken.
        InvalidInputError
            The bucket has no object lock, or `until` does not lie in the future.
        """
        return lock_verbs.retain(self, key, version_id, mode, until, bypass_governance=bypass_governance)

    def hold(self, key: str, version_id: str | None, on: bool) -> ObjectInfo:
        """Place a legal hold on a version, or take it off; `version_id` None is the current one."""
        return lock_verbs.hold(self, key, version_id, on)

    def set_object_lock(self, retention: str | tuple[str, int] | BucketLock | None = None) -> BucketInfo:
        """Turn object lock on, for good, or change the retention that new versions get.

        Parameters
        ----------
        retention : str, (str, int) or None
            A preset (``sec-17a-4``, ``cftc-1.31``, ``mifid-ii``, ``cn-securities``), (mode, days), or None: a version
            is then only locked when whoever writes it says so.

        Raises
        ------
        InvalidInputError
            The bucket does not keep versions, or there is no such preset or mode.
        """
        document = bucket_lock(retention).document()
        self.store.lock_clock.ensure()
        return self.set_document(LOCK_DOCUMENT, document)

    # -- multipart

    def create_upload(
        self,
        key: str,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        checksum_algorithm: str | None = None,
        checksum_type: str | None = None,
        lock: ObjectLock | None = None,
        encryption: Encryption = None,
    ) -> UploadInfo:
        """Begin a multipart upload."""
        return multipart.create_upload(
            self,
            key,
            metadata=metadata,
            content_type=content_type,
            headers=headers,
            tags=tags,
            checksum_algorithm=checksum_algorithm,
            checksum_type=checksum_type,
            lock=lock,
            encryption=encryption,
        )

    def upload_info(self, key: str, upload_id: str) -> UploadInfo:
        """Return what is known of an upload in progress; raises `UploadNotFoundError`."""
        return multipart.upload_info(self, key, upload_id)

    def put_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        data: Any,
        *,
        checksums: Mapping[str, str] | None = None,
        customer_key: bytes | None = None,
    ) -> PartInfo:
        """Write one part; one with the same number is replaced."""
        body = put.as_buffer(data)
        with self.open_part_writer(
            key, upload_id, part_number, len(body), checksums=checksums, customer_key=customer_key
        ) as writer:
            writer.write(body)
            return writer.commit()

    def open_part_writer(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        size_hint: int | None = None,
        *,
        checksums: Mapping[str, str] | None = None,
        customer_key: bytes | None = None,
    ) -> ObjectWriter[PartInfo]:
        """Return a writer that streams one part."""
        return multipart.open_part_writer(self, key, upload_id, part_number, size_hint, checksums, customer_key)

    def list_parts_page(
        self,
        key: str,
        upload_id: str,
        *,
        part_number_marker: int = 0,
        limit: int = 1000,
        customer_key: bytes | None = None,
    ) -> PartPage:
        """Return one page of parts, by number; with their checksums, where the upload's key is at hand."""
        return multipart.list_parts_page(self, key, upload_id, part_number_marker, limit, customer_key)

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        checksums: Mapping[str, str] | None = None,
        checksum_type: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        customer_key: bytes | None = None,
    ) -> ObjectInfo:
        """Make an object of parts (number, etag), in ascending order, without copying them.

        `customer_key` is needed for `checksums` only, which are kept under it.
        """
        return multipart.complete_upload(
            self,
            key,
            upload_id,
            parts,
            checksums=checksums,
            checksum_type=checksum_type,
            if_match=if_match,
            if_none_match=if_none_match,
            customer_key=customer_key,
        )

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Give an upload and its parts up."""
        multipart.abort_upload(self, key, upload_id)

    def list_uploads_page(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        """Return one page of uploads in progress."""
        return multipart.list_uploads_page(self, prefix, delimiter, key_marker, upload_id_marker, limit)

    # -- settings

    def audit_reads(self, on: bool) -> BucketInfo:
        """Choose whether reads through the Python API are in the audit trail; those through a door always are.

        A read that is audited takes a few microseconds more.
        """
        if not isinstance(on, bool):
            raise InvalidInputError(f"audit_reads is True or False, not {on!r}")
        return self.set_document(AUDIT_DOCUMENT, {"reads": True} if on else None)

    def _audit_read(self, action: str, key: str, version_id: str | None, size_bytes: int) -> None:
        actor = process_actor() if self.actor is None else self.actor
        self.store.auditor.record(
            actor,
            Category.READ,
            action=action,
            bucket=self.name,
            key=key,
            version_id=version_id or "",
            size_bytes=size_bytes,
        )

    def set_versioning(self, state: Literal["enabled", "suspended"]) -> BucketInfo:
        """Keep versions from now on, or stop keeping them; what is kept stays."""
        if state not in ("enabled", "suspended"):
            raise InvalidInputError(f"versioning is 'enabled' or 'suspended', not {state!r}; it cannot be turned off")
        return self._change(lambda info: replace(info, versioning=state))

    def set_durability(self, durability: Durability) -> BucketInfo:
        """Choose when a write is acknowledged: ``strict`` after it is synced, ``relaxed`` before."""
        if durability not in ("strict", "relaxed"):
            raise InvalidInputError(f"durability is 'strict' or 'relaxed', not {durability!r}")
        return self._change(lambda info: replace(info, durability=durability))

    def set_encryption(self, encryption: Encryption) -> BucketInfo:
        """Choose what new versions are encrypted with; those that are there stay as they are, and readable.

        A write that has begun is written as it was when it began.

        Parameters
        ----------
        encryption : str, mapping or None
            A suite (``aes-256-gcm``, ``sm4-gcm``), a mapping with ``suite`` and ``key``, the id of a key that is there,
            or None: they are not encrypted.

        Raises
        ------
        AccessDeniedError
            There is no such key, or it may not be used.
        """
        document = None if encryption is None else check_setting(self.store, encryption).document()
        return self.set_document(ENCRYPTION_DOCUMENT, document)

    def rewrap(self, key_id: str | None = None, *, progress: Progress | None = None) -> RewrapReport:
        """Wrap the data keys of all encrypted versions anew, without touching their bodies: after a rotation.

        Parameters
        ----------
        key_id : str, optional
            Move them to this key; otherwise each stays with its own, and gets the current version of it.
        """
        return rewrap(self, key_id, progress=progress)

    def set_document(self, name: str, value: Any | None) -> BucketInfo:
        """Store a settings document whole; None removes it."""
        settings = {name: value}
        if name == "policy":
            from tickvault.objects.bucket_rules import PRINCIPALS_DOCUMENT, named_principals

            # Whom it names, as they are now: one made later under such a name is another.
            settings[PRINCIPALS_DOCUMENT] = None if value is None else named_principals(self.store, self.name, value)

        def change(info: BucketInfo) -> BucketInfo:
            documents = {key: kept for key, kept in info.documents.items() if key not in settings}
            documents.update((key, given) for key, given in settings.items() if given is not None)
            return replace(info, documents=documents)

        return self._change(change)

    def _change(self, change: Any) -> BucketInfo:
        state = self.state
        # Settings are few and small; the largest document S3 allows (lifecycle, 1,000 rules) stays below this.
        size = 1 << 20

        def run(txn: Transaction) -> BucketInfo:
            info: BucketInfo = change(state.changing(txn))
            # How the bucket is written is itself never lost to a crash.
            txn.strict = True
            try:
                meta = encode_bucket(info)
            except (TypeError, ValueError) as error:
                raise InvalidInputError(f"a settings document holds what JSON could: {error}") from None
            if len(meta) > size - 4096:
                raise InvalidInputError(
                    f"the settings of bucket {self.name} take {len(meta)} bytes; at most {size - 4096}"
                )
            txn.append(Kind.BUCKET, info.bucket_id, names.check_bucket_name(self.name).encode(), meta)
            return info

        made = self.store.engine.commit(Operation(run, size))
        self.store.engine.control.bump_settings()
        state.current(self.store)
        return made
