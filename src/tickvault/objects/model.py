"""The nouns of the object store, as plain values.

Invariants: values are immutable; times are int64 nanoseconds since the epoch, UTC; sizes are bytes; an `etag` is
bare (no quotes); a `version_id` is ``"null"`` for objects written while versioning was off or suspended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT, BucketEncryption
from tickvault.objects.encryption.stored import EncryptionInfo
from tickvault.objects.lock.retention import BucketLock

Durability = Literal["strict", "relaxed"]
Versioning = Literal["off", "enabled", "suspended"]

#: The version id of an object written while versioning was off or suspended.
NULL_VERSION = "null"


class ObjectInfo(NamedTuple):
    """What is known of one version of an object (also of a delete marker)."""

    key: str
    size: int
    etag: str
    sequence: int
    """Position in the vault's order of changes; never repeats, also not after a crash."""
    modified_ns: int
    version_id: str = NULL_VERSION
    is_latest: bool = True
    delete_marker: bool = False
    content_type: str | None = None
    metadata: Mapping[str, str] = {}
    """User metadata (S3's ``x-amz-meta-*``), names in lower case."""
    headers: Mapping[str, str] = {}
    """Stored response headers in lower case: cache-control, content-disposition, content-encoding,
    content-language, expires, x-amz-website-redirect-location, x-amz-storage-class, x-amz-acl."""
    checksums: Mapping[str, str] = {}
    """Base64 values by lower-case algorithm name: crc32, crc32c, crc64nvme, sha1, sha256."""
    checksum_type: str | None = None
    """``FULL_OBJECT`` or ``COMPOSITE``."""
    part_sizes: tuple[int, ...] = ()
    """Sizes of the parts of a multipart object, in order; empty otherwise."""
    tag_count: int = 0
    retention_mode: str | None = None
    """``GOVERNANCE`` or ``COMPLIANCE``, None without a retention."""
    retain_until_ns: int = 0
    """When the retention ends; 0 without one."""
    legal_hold: bool = False
    locked: bool = False
    """It has a lock, or had one: a retention or hold was set on it at some time, and may have ended since."""
    encryption: EncryptionInfo | None = None
    """How it is encrypted at rest, None if it is not. Listings do not know it."""
    sealed_checksums: Mapping[str, bytes] = {}
    """The checksums as they are stored, where that is not in the clear (`objects.encryption.checksums`); `checksums`
    has them opened, and is empty where their key is not at hand."""


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket and its settings."""

    name: str
    bucket_id: int
    created_ns: int
    versioning: Versioning = "off"
    durability: Durability = "strict"
    documents: Mapping[str, Any] = field(default_factory=dict)
    """Settings that a door stores whole, by name: ``cors``, ``lifecycle``, ``tagging``, ``acl``, …"""

    @property
    def object_lock(self) -> BucketLock | None:
        """The bucket's object lock, None if it has none."""
        document = self.documents.get("object_lock")
        return None if document is None else BucketLock.of(document)

    @property
    def encryption(self) -> BucketEncryption | None:
        """What new versions are encrypted with, None if they are not."""
        document = self.documents.get(ENCRYPTION_DOCUMENT)
        return None if document is None else BucketEncryption.of(document)


class ListPage(NamedTuple):
    """One page of a listing, in byte order of the UTF-8 keys."""

    objects: list[ObjectInfo]
    common_prefixes: list[str]
    next_start_after: str | None
    """Pass as `start_after` for the next page; None on the last page."""


class VersionPage(NamedTuple):
    """One page of versions and delete markers: by key, newest first."""

    versions: list[ObjectInfo]
    common_prefixes: list[str]
    next_key_marker: str | None
    next_version_id_marker: str | None


class DeleteResult(NamedTuple):
    """What a delete did."""

    key: str
    version_id: str | None
    """Of the delete marker made or the version removed; None when the bucket has no versions."""
    delete_marker: bool
    """A marker was made, or the removed version was one."""
    existed: bool


class UploadInfo(NamedTuple):
    """A multipart upload in progress."""

    key: str
    upload_id: str
    initiated_ns: int
    content_type: str | None = None
    metadata: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    checksum_algorithm: str | None = None
    checksum_type: str | None = None
    tags: Mapping[str, str] = {}
    lock: Mapping[str, Any] | None = None
    """The lock that the object is to get, as it is stored."""
    encryption: Mapping[str, Any] | None = None
    """How its parts are encrypted, as it is stored (`objects.encryption.stored`)."""


class PartInfo(NamedTuple):
    """One uploaded part."""

    part_number: int
    size: int
    etag: str
    modified_ns: int
    checksums: Mapping[str, str] = {}
    """Empty also where they are stored sealed, and the key is not at hand."""


class UploadPage(NamedTuple):
    """One page of uploads: by key, then by upload id."""

    uploads: list[UploadInfo]
    common_prefixes: list[str]
    next_key_marker: str | None
    next_upload_id_marker: str | None


class PartPage(NamedTuple):
    """One page of parts, by number."""

    parts: list[PartInfo]
    next_part_number_marker: int | None
