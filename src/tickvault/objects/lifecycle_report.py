"""What a run of the lifecycle rules did.

Invariants: a counter of `BucketLifecycle` is named by the outcome of one removal, and counts nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BucketLifecycle:
    """What a run did in one bucket."""

    bucket: str
    expired_count: int = 0
    """Current versions removed for good, in a bucket without versions."""
    marker_made_count: int = 0
    """Current versions hidden behind a new delete marker, in a bucket with versions."""
    noncurrent_removed_count: int = 0
    """Noncurrent versions, delete markers among them, removed for good."""
    marker_removed_count: int = 0
    """Delete markers removed that hid nothing any more."""
    upload_aborted_count: int = 0
    removed_size_bytes: int = 0
    """Bodies removed for good, parts of aborted uploads included."""
    refused_count: int = 0
    """Removals that a guard refused, such as an object lock."""
    changed_count: int = 0
    """Removals given up because the object changed between the look and the commit; the next run looks again."""
    damaged_count: int = 0
    """Entries that do not match their checksum, left for `tickvault verify`."""
    error: str | None = None
    """Why the run stopped early in this bucket; None if it did not."""


@dataclass(frozen=True, slots=True)
class LifecycleReport:
    """What one run did."""

    now_ns: int
    """The time that the rules were held against, int64 ns since the epoch, UTC."""
    buckets: tuple[BucketLifecycle, ...]
    """Those that have rules, by name."""

    @property
    def change_count(self) -> int:
        """Removals and delete markers made, over all buckets."""
        return sum(
            bucket.expired_count
            + bucket.marker_made_count
            + bucket.noncurrent_removed_count
            + bucket.marker_removed_count
            + bucket.upload_aborted_count
            for bucket in self.buckets
        )
