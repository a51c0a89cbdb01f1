"""What a request asks for, as conditions see it; whatever takes a lookup is looked up when it is first needed.

Invariants: a stored tag, lock or source is looked up only for a policy that reads such a key, or for a row of the table
that hangs on it; a value that conditions could not read (an address, a date) is left out or in one form only; nothing
here decides.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "AWS
global condition context keys".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from tickvault.doors.s3.authorization.condition_keys import (
    Values,
    body_keys,
    moment_keys,
    origin_keys,
    request_lock_keys,
    stored_lock_keys,
    tag_keys,
    text_of,
)
from tickvault.doors.s3.authorization.table import BYPASS
from tickvault.doors.s3.copy_source import parse_copy_source
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.signing_key import is_timestamp, parse_timestamp
from tickvault.doors.s3.tag_sets import from_header
from tickvault.errors import NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import BucketInfo, ObjectInfo

#: Headers that conditions see under their own name.
_HEADER_KEYS = (
    "x-amz-acl",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
)
_LISTING_KEYS = ("prefix", "delimiter", "max-keys")
#: Keys, in lower case, that are made together, if a policy reads one of them.
_MOMENT_KEYS = frozenset({"aws:currenttime", "aws:epochtime"})
_ORIGIN_KEYS = frozenset(
    {"aws:securetransport", "aws:sourceip", "aws:useragent", "aws:referer", "aws:tokenissuetime", "s3:tlsversion"}
)
_SIGNATURE_KEYS = frozenset({"s3:signatureversion", "s3:authtype", "s3:signatureage", "s3:x-amz-content-sha256"})
_TAG_KEY = "s3:existingobjecttag/"
_LOCK_KEY = "s3:object-lock-"
#: Actions for which Amazon knows no tags of what is stored.
_UNTAGGED = frozenset(
    {
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    }
)


class Source(NamedTuple):
    """What a copy reads."""

    bucket: Bucket
    settings: BucketInfo
    key: str
    version_id: str | None


class Ask:
    """One request, and where it is about what."""

    def __init__(
        self,
        request: Request,
        bucket: Bucket | None,
        settings: BucketInfo | None,
        clock: Callable[[], float],
        find_bucket: Callable[[str], tuple[Bucket, BucketInfo]] | None = None,
    ) -> None:
        self.request = request
        self.bucket = bucket
        self.settings = settings
        self.headers = request.headers
        self.query = request.query
        self.clock = clock
        self._find_bucket = find_bucket
        self._common: tuple[frozenset[str], dict[str, Values]] | None = None
        self.body: bytes | None = None
        """The body, where conditions speak of what stands in it."""

    @cached_property
    def source(self) -> Source:
        """What ``x-amz-copy-source`` names; raises as finding it does."""
        name, key, version_id = parse_copy_source(self.headers["x-amz-copy-source"])
        assert self._find_bucket is not None, "whoever asks about a source can find it"
        bucket, settings = self._find_bucket(name)
        return Source(bucket, settings, key, version_id)

    @cached_property
    def source_info(self) -> ObjectInfo | None:
        """What is stored there now, None if nothing is."""
        source = self.source
        return stored(source.bucket, source.key, source.version_id)

    @property
    def source_tagged(self) -> bool:
        """Whether the source of a copy has tags."""
        return self.source_info is not None and self.source_info.tag_count > 0

    def common(self, reads: frozenset[str]) -> dict[str, Values]:
        """Return the keys of the request that do not depend on what it is about: those that are read, and more."""
        if self._common is None or self._common[0] != reads:
            self._common = (reads, self._make_common(reads))
        return self._common[1]

    def _make_common(self, reads: frozenset[str]) -> dict[str, Values]:
        request, headers, query = self.request, self.headers, self.query
        keys: dict[str, Values] = {}
        now_s = self.clock()
        if not reads.isdisjoint(_MOMENT_KEYS):
            keys.update(moment_keys(now_s))
        if not reads.isdisjoint(_ORIGIN_KEYS):
            keys.update(origin_keys(request))
        if not reads.isdisjoint(_SIGNATURE_KEYS):
            keys.update(self._signature_keys(now_s))
        for name in _LISTING_KEYS:
            if name in query and not request.key:
                keys[f"s3:{name}"] = query[name]
        for name in _HEADER_KEYS:
            if name in headers:
                keys[f"s3:{name}"] = text_of(headers[name])
        if headers.get("x-amz-tagging") and any(name.startswith("s3:requestobjecttag") for name in reads):
            keys.update(tag_keys(from_header(headers["x-amz-tagging"])))
        keys.update(request_lock_keys(headers, now_s))
        if self.body is not None:
            keys.update(body_keys(request.action, self.body, now_s))
        return keys

    def _signature_keys(self, now_s: float) -> dict[str, Values]:
        request, headers, query = self.request, self.headers, self.query
        if request.signer is None:
            return {}
        keys: dict[str, Values] = {"s3:signatureversion": "AWS4-HMAC-SHA256"}
        if request.action == "PostObject":
            keys["s3:authType"] = "POST"
            return keys
        presigned = "authorization" not in headers
        keys["s3:authType"] = "REST-QUERY-STRING" if presigned else "REST-HEADER"
        signed_at = query.get("X-Amz-Date", "") if presigned else headers.get("x-amz-date", "")
        if is_timestamp(signed_at):
            keys["s3:signatureAge"] = str(max(0, int((now_s - parse_timestamp(signed_at)) * 1000)))
        payload = query.get("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") if presigned else ""
        keys["s3:x-amz-content-sha256"] = headers.get("x-amz-content-sha256", payload)
        return keys


class Keys(Mapping[str, Values]):
    """The condition keys of one question; made when a condition or a variable first needs them.

    Parameters
    ----------
    ask : Ask
        The request.
    reads : frozenset of str
        What the policies in force read, in lower case: tags and locks are looked up for those only.
    bucket, key, version_id
        The object that the question is about.
    action : str
        Of S3, for which its own keys are filled in: tags of what is stored where Amazon does, the lock of what is
        stored for a bypass.
    """

    __slots__ = ("_action", "_ask", "_bucket", "_key", "_made", "_reads", "_version_id")

    def __init__(
        self,
        ask: Ask,
        reads: frozenset[str],
        bucket: Bucket | None,
        key: str,
        version_id: str | None,
        action: str,
    ) -> None:
        self._ask = ask
        self._reads = reads
        self._bucket = bucket
        self._key = key
        self._version_id = version_id
        self._action = action
        self._made: dict[str, Values] | None = None

    def __getitem__(self, name: str) -> Values:
        return self._keys()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> dict[str, Values]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> dict[str, Values]:
        keys = dict(self._ask.common(self._reads))
        if self._version_id:
            keys["s3:VersionId"] = self._version_id
        if self._bucket is None or not self._key:
            return keys
        if self._action not in _UNTAGGED and any(name.startswith(_TAG_KEY) for name in self._reads):
            try:
                tags = self._bucket.get_tags(self._key, version_id=self._version_id or None)
            except NotFoundError:
                tags = {}
            keys.update((f"s3:ExistingObjectTag/{name}", value) for name, value in tags.items())
        if self._action == BYPASS and any(name.startswith(_LOCK_KEY) for name in self._reads):
            info = stored(self._bucket, self._key, self._version_id or None)
            if info is not None:
                keys.update(stored_lock_keys(info, self._ask.clock()))
        return keys


def stored(bucket: Bucket, key: str, version_id: str | None) -> ObjectInfo | None:
    """Return what is known of a version, None if it is not there."""
    try:
        return bucket.head(key, version_id=version_id)
    except NotFoundError:
        return None
