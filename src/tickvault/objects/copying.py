"""Copying an object within the vault.

Invariants: the copy is verified while it is read; it is an object of its own, whose bytes do not depend on the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tickvault.errors import PreconditionFailedError
from tickvault.objects.attributes import get_tags
from tickvault.objects.get import read
from tickvault.objects.lock.retention import ObjectLock
from tickvault.objects.model import ObjectInfo
from tickvault.objects.put import INLINE_SIZE_MAX, Encryption, bare_etag, extras_of, open_writer, put_operation

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket


def copy(
    source: Bucket,
    key: str,
    target: Bucket,
    target_key: str,
    *,
    version_id: str | None,
    metadata: Mapping[str, str] | None,
    content_type: str | None,
    headers: Mapping[str, str] | None,
    tags: Mapping[str, str] | None,
    checksums: Mapping[str, str] | None,
    if_match: str | None,
    if_none_match: str | None,
    source_if_match: str | None,
    lock: ObjectLock | None,
    encryption: Encryption = None,
    source_customer_key: bytes | None = None,
) -> ObjectInfo:
    """Copy a version; `metadata` None keeps the source's metadata, content type and headers, `tags` None its tags.

    The lock of the source stays with the source: the copy gets the one asked for, or its bucket's default. So does its
    encryption: the copy is opened, and encrypted as any new version of its bucket.
    """
    # The reader pins one version, so the condition holds for the very bytes that are copied.
    reader = read(source, key, version_id, source_customer_key)
    info = reader.info
    if source_if_match is not None and bare_etag(source_if_match) not in ("*", info.etag):
        raise PreconditionFailedError(
            f"copy {source.name}/{key}: source_if_match={source_if_match}, but its etag is {info.etag}"
        )
    if metadata is None:
        metadata, content_type, headers = info.metadata, info.content_type, info.headers
    if tags is None:
        tags = get_tags(source, key, info.version_id) if info.tag_count else {}
    if checksums is None and info.checksum_type != "COMPOSITE":
        checksums = info.checksums
    extras = extras_of(content_type, metadata, headers, tags, checksums, None, lock)
    if info.size <= INLINE_SIZE_MAX:
        operation = put_operation(
            target,
            target_key,
            reader.bytes(),
            extras=extras,
            if_match=if_match,
            if_none_match=if_none_match,
            encryption=encryption,
        )
        return target.store.engine.commit(operation)
    with open_writer(
        target,
        target_key,
        info.size,
        extras=extras,
        if_match=if_match,
        if_none_match=if_none_match,
        encryption=encryption,
    ) as writer:
        for chunk in reader.chunks():
            writer.write(chunk)
        return writer.commit()
