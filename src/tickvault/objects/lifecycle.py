"""The lifecycle of a bucket's objects: old versions expire, unfinished uploads are given up.

The rules and their document are drawn in `tickvault.objects.lifecycle_rules`.  Days count from the creation of a
version (from the creation of its successor for a noncurrent one, from the initiation of an upload) and end at the
midnight UTC after.  Each noun has a room of its own: `lifecycle_objects`, `lifecycle_versions`, `lifecycle_uploads`;
`lifecycle_walk` leads them through a bucket and commits what they find.

Invariants: an error in one bucket is noted and keeps the run from no other; several processes may run this at the same
time.

Source: Amazon S3 User Guide, "Managing the lifecycle of objects"; Amazon S3 API Reference, LifecycleRule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tickvault.errors import BucketNotFoundError, TickVaultError
from tickvault.objects.lifecycle_objects import CurrentVersions
from tickvault.objects.lifecycle_report import BucketLifecycle, LifecycleReport
from tickvault.objects.lifecycle_rules import DOCUMENT, Rule, parse_rules, validate_lifecycle
from tickvault.objects.lifecycle_uploads import Uploads
from tickvault.objects.lifecycle_versions import DeleteMarkers, NoncurrentVersions
from tickvault.objects.lifecycle_walk import BucketWalk

if TYPE_CHECKING:
    from tickvault.engine.engine import Progress
    from tickvault.objects.store import ObjectStore

__all__ = ["BucketLifecycle", "LifecycleReport", "run_lifecycle", "validate_lifecycle"]


def run_lifecycle(store: ObjectStore, now_ns: int | None = None, progress: Progress | None = None) -> LifecycleReport:
    """Apply the lifecycle rules of every bucket once.

    Parameters
    ----------
    store : ObjectStore
        Others may read, write, and run the same at the same time.
    now_ns : int, optional
        The time to hold the rules against, int64 ns since the epoch, UTC; the store's clock by default.
    progress : callable, optional
        Called with (buckets done, buckets, ``"buckets"``).

    Returns
    -------
    LifecycleReport
        An error in one bucket is noted there and keeps the run from no other.
    """
    moment = store.engine.clock.now_ns() if now_ns is None else now_ns
    with_rules = [info for info in store.list_buckets() if info.documents.get(DOCUMENT)]
    reports: list[BucketLifecycle] = []
    for number, info in enumerate(with_rules):
        if progress is not None:
            progress(number, len(with_rules), "buckets")
        report = BucketLifecycle(info.name)
        try:
            rules = parse_rules(info.documents[DOCUMENT])
            _apply(rules, BucketWalk(store.bucket(info.name), moment, report))
        except BucketNotFoundError:
            # Deleted meanwhile, and its rules with it.
            continue
        except TickVaultError as error:
            report.error = f"{type(error).__name__}: {error}"
        reports.append(report)
    if progress is not None:
        progress(len(with_rules), len(with_rules), "buckets")
    return LifecycleReport(moment, tuple(reports))


def _apply(rules: Sequence[Rule], walk: BucketWalk) -> None:
    """Expire current versions, then noncurrent ones, then delete markers left alone, then uploads.

    In this order a marker whose last version goes in this run goes in this run too.
    """
    walk.run(CurrentVersions(walk, rules))
    walk.run(NoncurrentVersions(walk, rules))
    walk.run(DeleteMarkers(walk, rules))
    walk.run(Uploads(walk, rules))
