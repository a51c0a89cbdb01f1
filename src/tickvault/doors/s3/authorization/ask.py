"""What a request asks for, as conditions see it; whatever takes a lookup is looked up when it is first needed.

Invariants: a stored tag, lock or source is looked up only for a policy that reads such a key, or for a row of the table
that hangs on it; a value that conditions could not read (an address, a date) is left out or in one form only; nothing
here decides.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "AWS
global condition context keys".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from tickvault.doors.s3.authorization.condition_keys import (
    body_keys,
    header_keys,
    origin_keys,
    request_lock_keys,
)
from tickvault.doors.s3.copy_source import parse_copy_source
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.signing_key import is_timestamp, parse_timestamp
from tickvault.doors.s3.tag_sets import from_header
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
