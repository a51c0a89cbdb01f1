"""What every S3 operation is given besides its request.

Invariants: a context is made once per worker, after the fork, and never changed while requests run; blocking
work leaves the event loop through `Context.in_thread` and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tickvault.errors import BucketNotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import BucketInfo
from tickvault.objects.store import ObjectStore

if TYPE_CHECKING:
    from tickvault.doors.s3.authorization.authorizer import Authorizer
    from tickvault.doors.s3.authorization.signer import Find
    from tickvault.security.identity import Identities

P = ParamSpec("P")
T = TypeVar("T")

#: Largest body of one PUT, one part, and one source of a copy (S3 User Guide, "Multipart upload limits").
PUT_SIZE_MAX = 5 << 30
KEY_SIZE_MAX = 1024
PAGE_SIZE_MAX = 1000
PART_COUNT_MAX = 10_000
PART_SIZE_MIN = 5 << 20
#: Bodies up to here are read, verified and sent in one piece, so that damage is found before the status line
#: is sent.
WHOLE_READ_SIZE_MAX = 256 << 10
#: Above this size nobody asks whether the bytes are in the page cache: the answer would cost more than a
#: thread.
RESIDENCY_CHECK_SIZE_MAX = 8 << 20
BUCKETS_KEPT_MAX = 4096


@dataclass(slots=True)
class Context:
    """The door's surroundings.

    Attributes
    ----------
    store : ObjectStore
        The vault's objects.
    find : callable
        Access key and session token to who signs with them; raises `S3Error`.
    domains : tuple of str
        Host names below which a bucket's name may stand.
    region : str
        What GetBucketLocation and HeadBucket name where a bucket was made without one.
    allow_anonymous : bool
        Unsigned requests may do what a bucket's policy or a canned ACL opens; False refuses all of them.
    executor : concurrent.futures.Executor or None
        Where blocking calls run; None is the event loop's own.
    account_id, owner_id, owner_name : str
        The one owner of every bucket, as S3's XML names it.
    clock : callable
        Seconds since the epoch.
    identities : Identities or None
        Who may begin sessions; None: nobody.
    authorizer : Authorizer
        Decides what each request may do.
    """

    store: ObjectStore
    find: Find
    domains: tuple[str, ...] = ()
    region: str = "us-east-1"
    allow_anonymous: bool = False
    executor: Executor | None = None
    account_id: str = "000000000000"
    owner_id: str = hashlib.sha256(b"tickvault").hexdigest()
    owner_name: str = "tickvault"
    clock: Callable[[], float] = time.time
    identities: Identities | None = None
    authorizer: Authorizer = field(init=False)
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Imported here, since the questions that it asks are about what a context finds.
        from tickvault.doors.s3.authorization.authorizer import Authorizer

        self.authorizer = Authorizer(allow_anonymous=self.allow_anonymous, clock=self.clock)

    def find_bucket(self, name: str) -> tuple[Bucket, BucketInfo]:
        """Return a bucket and its settings as of now; raises `BucketNotFoundError`.

        Handles are kept, since making one costs more than reading a small object does. A kept one says itself when
        its bucket is no longer the one of that name.
        """
        bucket = self._buckets.get(name)
        if bucket is not None:
            try:
                return bucket, bucket.info
            except BucketNotFoundError:
                self._buckets.pop(name, None)
        bucket = self.store.bucket(name)
        bucket.embedded = False  # what is asked of this door is audited as its requests
        if len(self._buckets) >= BUCKETS_KEPT_MAX:
            self._buckets.clear()
        self._buckets[name] = bucket
        return bucket, bucket.info

    def bucket(self, name: str) -> Bucket:
        """Return a bucket; raises `BucketNotFoundError`."""
        return self.find_bucket(name)[0]

    def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Run a blocking call in the executor; must be called on the event loop.

        It runs in the context of whoever calls, so that a change is attributed to the request that asked for it.
        """
        call = partial(function, *args, **kwargs) if args or kwargs else function
        return asyncio.get_running_loop().run_in_executor(self.executor, partial(contextvars.copy_context().run, call))
