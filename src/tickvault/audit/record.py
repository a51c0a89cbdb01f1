"""One audit record: who did what to which object, when, from where, and how it ended.

Invariants: a record is a plain value and never changes; its `sequence` is its place in the trail, dense from 1, given
when it is chained and 0 before; times are int64 nanoseconds since the epoch, UTC; no field ever holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple


class Category(IntEnum):
    """What a record tells of. Numbers are part of the format and are never reused."""

    CHANGE = 1
    """A change of the vault; it rode in the commit that made it."""
    READ = 2
    """A request that changed nothing and was granted."""
    REFUSAL = 3
    """A request that was refused, or failed."""
    SYSTEM = 4
    """Of the store itself: opened, clock moved, trail begun, key rotated."""


class AuditRecord(NamedTuple):
    """One audit record."""

    sequence: int
    """Place in the trail, dense from 1; 0 before it was chained."""
    time_ns: int
    """Wall time of the event."""
    clock_error_ns: int
    """Largest error of the wall clock as the kernel knew it, nanoseconds; -1 where it did not know."""
    category: Category
    action: str
    """S3's name of the action, also for the Python API: ``PutObject``, ``DeleteObjectVersion``, …"""
    result: str
    """``ok``, or the code of the error: ``AccessDenied``, ``ObjectLocked``, …"""
    status: int
    """HTTP status of the answer; 0 where there was none."""
    door: str
    """``embedded``, ``s3``, ``cli``, ``system``."""
    identity: str
    """Who: an ARN or an access key; ``local:UID`` for the Python API without an identity; empty: anonymous."""
    source: str
    """From where: ``address`` of the client, or ``pid N of HOST`` for the Python API."""
    request_id: str
    bucket: str
    key: str
    version_id: str
    size_bytes: int
    """Of the body written or handed out; 0 where there was none."""
    vault_sequence: int
    """The change's sequence number in the vault; 0 for what changed nothing."""
    detail: Mapping[str, str] = {}
    """What else is worth keeping: ``retain_until``, ``sha256``, ``bypass``, ``reason``, …"""
