"""What a request asks for, as conditions see it; whatever takes a lookup is looked up when it is first needed.

Invariants: a stored tag, lock or source is looked up only for a policy that reads such a key, or for a row of the table
that hangs on it; a value that conditions could not read (an address, a date) is left out or in one form only; nothing
here decides.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "AWS
global condition context keys".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple

from tickvault.doors.s3.authorization.condition_keys import (
    body_keys,
    header_keys,
    origin_keys,
    request_lock_keys,
    write_encryption_keys,
)
from tickvault.doors.s3.copy_source import parse_copy_source
from tickvault.doors.s3.encryption_headers import PREFIX
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.signing_key import is_timestamp, parse_timestamp
from tickvault.doors.s3.tag_sets import from_header
from tickvault.errors import NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.condition_keys import Values, moment_keys, stored, tag_keys
from tickvault.objects.model import BucketInfo, ObjectInfo

_LISTING_KEYS = ("prefix", "delimiter", "max-keys")
#: Keys, in lower case, that are made together, if a policy reads one of them.
_MOMENT_KEYS = frozenset({"aws:currenttime", "aws:epochtime"})
_ORIGIN_KEYS = frozenset(
    {"aws:securetransport", "aws:sourceip", "aws:useragent", "aws:referer", "aws:tokenissuetime", "s3:tlsversion"}
)
_SIGNATURE_KEYS = frozenset({"s3:signatureversion", "s3:authtype", "s3:signatureage", "s3:x-amz-content-sha256"})

#: Operations that begin a version of their own, which is encrypted as they or their bucket say.
_WRITES = frozenset({"PutObject", "PostObject", "CopyObject", "CreateMultipartUpload"})
_ENCRYPTION = f"s3:{PREFIX}"


def _reads(reads: frozenset[str], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in reads)


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
        self.upload_id = request.query.get("uploadId")
        self.clock = clock
        self._find_bucket = find_bucket
        self._common: tuple[frozenset[str], dict[str, Values]] | None = None
        self.body: bytes | None = None
        """The body, where conditions speak of what stands in it."""
        self.owner_id = ""
        """Of the owner of every bucket, whom an ACL in a body names."""

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
        keys.update(header_keys(headers))
        if request.action == "CopyObject":
            keys.setdefault("s3:x-amz-metadata-directive", "COPY")
        if self.settings is not None and request.action in _WRITES and _reads(reads, _ENCRYPTION):
            keys.update(write_encryption_keys(headers, self.settings))
        if _reads(reads, "s3:requestobjecttag") and (tags := self._tags()):
            keys.update(tag_keys(tags))
        keys.update(request_lock_keys(headers, now_s))
        if self.body is not None:
            keys.update(body_keys(request.action, self.body, now_s, self.owner_id))
        return keys

    def _tags(self) -> Mapping[str, str]:
        """Return the tags that a write sets: its own, or those that a copy takes from its source."""
        headers = self.headers
        if self.request.action != "CopyObject" or headers.get("x-amz-tagging-directive", "").upper() == "REPLACE":
            return from_header(headers["x-amz-tagging"]) if headers.get("x-amz-tagging") else {}
        if self._find_bucket is None:
            return {}  # a question beside the copy itself
        source = self.source
        try:
            return source.bucket.get_tags(source.key, version_id=source.version_id)
        except NotFoundError:
            return {}

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
