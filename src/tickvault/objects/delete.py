"""Deleting: a removal, or a delete marker where versions are kept.

Invariants: deleting what is not there is no error and changes nothing in a bucket without versions; a delete without a
version id never removes a version with an id of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tickvault.engine.commit import Operation, Transaction
from tickvault.errors import TickVaultError
from tickvault.objects import entries, names
from tickvault.objects.entries import (
    AUX_VERSIONED,
    ENTRY_MARKER,
    ENTRY_NULL,
    REMOVE_BYPASS,
    REMOVE_NULL,
    Kind,
)
from tickvault.objects.lookup import find_version
from tickvault.objects.model import BucketInfo, DeleteResult
from tickvault.objects.put import check_conditions

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

_RECORD_SIZE = 192


def append_delete(
    txn: Transaction,
    bucket: BucketInfo,
    key: str,
    raw_key: bytes,
    version_id: str | None,
    *,
    bypass_governance: bool = False,
) -> DeleteResult:
    """Append what deletes a key, or one version of it; the guard of locks is asked before each record."""
    bucket_id = bucket.bucket_id
    bypass = REMOVE_BYPASS if bypass_governance else 0
    if version_id is not None:
        found = find_version(txn, bucket_id, raw_key, version_id)
        if found is None:
            return DeleteResult(key, version_id, False, False)
        entry = found[0]
        meta = bypass | (REMOVE_NULL if entry.flags & ENTRY_NULL else 0)
        txn.append(Kind.REMOVE, bucket_id, raw_key, bytes((meta,)), aux=entry.sequence)
        return DeleteResult(key, version_id, bool(entry.flags & ENTRY_MARKER), True)
    current_key = entries.object_key(bucket_id, raw_key)
    raw = txn.get(current_key)
    if bucket.versioning == "off":
        if raw is None:
            return DeleteResult(key, None, False, False)
        entry = entries.decode_entry(current_key, raw)
        txn.append(Kind.REMOVE, bucket_id, raw_key, bytes((bypass | REMOVE_NULL,)), aux=entry.sequence)
        return DeleteResult(key, None, False, True)
    aux = AUX_VERSIONED if bucket.versioning == "enabled" else 0
    sequence, _ = txn.append(Kind.DELETE_MARKER, bucket_id, raw_key, b"", aux=aux)
    return DeleteResult(key, f"{sequence:016x}" if aux else "null", True, raw is not None)


def delete_operation(
    bucket: Bucket, key: str, version_id: str | None, if_match: str | None, *, bypass_governance: bool = False
) -> Operation[DeleteResult]:
    """Return the operation that deletes a key or a version."""
    raw_key = names.encode_key(key)
    state = bucket.state

    def run(txn: Transaction) -> DeleteResult:
        info = state.changing(txn)
        if if_match is not None:
            check_conditions(txn, info, raw_key, if_match, None)
        return append_delete(txn, info, key, raw_key, version_id, bypass_governance=bypass_governance)

    return Operation(run, _RECORD_SIZE + len(raw_key), frees=True)


def delete_many(
    bucket: Bucket, keys: Sequence[str | tuple[str, str | None]], *, bypass_governance: bool = False
) -> list[DeleteResult | TickVaultError]:
    """Delete several keys or versions in one commit; what is refused is in the list as an error."""
    prepared: list[tuple[str, bytes, str | None] | TickVaultError] = []
    total = 0
    for item in keys:
        key, version_id = item if isinstance(item, tuple) else (item, None)
        try:
            raw_key = names.encode_key(key)
        except TickVaultError as error:
            prepared.append(error)
            continue
        prepared.append((key, raw_key, version_id))
        total += _RECORD_SIZE + len(raw_key)
    state = bucket.state

    def run(txn: Transaction) -> list[DeleteResult | TickVaultError]:
        info = state.changing(txn)
        results: list[DeleteResult | TickVaultError] = []
        for item in prepared:
            if isinstance(item, TickVaultError):
                results.append(item)
                continue
            length = txn.length
            try:
                results.append(append_delete(txn, info, *item, bypass_governance=bypass_governance))
            except TickVaultError as error:
                if txn.length != length:
                    # Half done; the commit undoes it.
                    raise
                # A guard refused this one; it was asked before anything was appended for it.
                results.append(error)
        return results

    return bucket.store.engine.commit(Operation(run, total, frees=True))
