"""DeleteObjects: up to 1,000 deletes in one request.

Invariants: each key is allowed or refused, and succeeds or fails, by itself, is reported in the order it was asked for,
and is in the audit trail by itself where it was refused or failed, as that of a DeleteObject would be; in quiet mode
only failures are reported; the list is acted on only if a digest of it was sent and found right, and only if it can be
read in one way: what is named twice, or holds elements where text belongs, is refused whole.

Source: Amazon S3 API Reference, DeleteObjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tickvault.doors.s3 import checksums, xml
from tickvault.doors.s3.auditing import record_member
from tickvault.doors.s3.conditions import bare_etag
from tickvault.doors.s3.context import KEY_SIZE_MAX, Context
from tickvault.doors.s3.errors import S3Error, as_s3_error, not_implemented
from tickvault.doors.s3.lock_headers import bypasses_governance
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.request_document import read_required
from tickvault.errors import TickVaultError
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import DeleteResult

KEY_COUNT_MAX = 1000


class _Entry(NamedTuple):
    key: str
    version_id: str | None
    if_match: str | None


async def delete_objects(context: Context, request: Request) -> Response:
    """Answer DeleteObjects."""
    bucket = context.bucket(request.bucket)
    headers = request.headers
    digested = "content-md5" in headers or "x-amz-trailer" in headers
    if not digested and not any(name in headers for name in checksums.HEADER_ALGORITHMS):
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    root = await read_required(request, "Delete", size_max=xml.DOCUMENT_SIZE_MAX)
    quiet = (_text(root, "Quiet") or "").strip().lower() == "true"
    entries = [_entry(element) for element in root.all("Object")]
    if not 1 <= len(entries) <= KEY_COUNT_MAX:
        raise S3Error("MalformedXML")
    results = await context.in_thread(_delete_all, context, request, bucket, entries)
    versioned = bucket.info.versioning != "off"
    content = []
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, DeleteResult):
            if not quiet:
                content.append(_deleted(entry, result, versioned))
        else:
            failure = as_s3_error(result)
            content.append(
                f"<Error>{xml.tag('Key', entry.key)}{xml.tag('VersionId', entry.version_id)}"
                f"{xml.tag('Code', failure.code)}{xml.tag('Message', failure.message)}</Error>"
            )
    return Response(200, {"Content-Type": "application/xml"}, xml.document("DeleteResult", *content))


def _entry(element: xml.Element) -> _Entry:
    key = _text(element, "Key")
    if not key:
        raise S3Error("MalformedXML")
    for name in ("LastModifiedTime", "Size"):
        if element.find(name) is not None:
            raise not_implemented(f"{name} in DeleteObjects")
    etag = _text(element, "ETag")
    if_match = None if etag is None else ("*" if etag.strip() == "*" else bare_etag(etag.strip()))
    return _Entry(key, (_text(element, "VersionId") or "").strip() or None, if_match)


def _text(element: xml.Element, name: str) -> str | None:
    """Return the text of the one child of that name: of two, one would be taken that the client did not mean."""
    found = list(element.all(name))
    if len(found) > 1 or (found and found[0].children):
        raise S3Error("MalformedXML")
    return found[0].text if found else None


def _delete_all(
    context: Context, request: Request, bucket: Bucket, entries: list[_Entry]
) -> list[DeleteResult | TickVaultError | S3Error]:
    """Delete what may be: without a condition in one commit, the rest one by one; results as `entries` are ordered."""
    results: list[DeleteResult | TickVaultError | S3Error | None] = [None] * len(entries)
    named = [(entry.key, entry.version_id) for entry in entries]
    asked = [(entry.key, entry.version_id, entry.if_match is not None) for entry in entries]
    decided = context.authorizer.delete_refusals(request, bucket, asked, bypass=bypasses_governance(request.headers))
    plain: dict[bool, list[int]] = {False: [], True: []}
    for position, (entry, (refusal, around)) in enumerate(zip(entries, decided, strict=True)):
        if refusal is not None:
            results[position] = refusal
        elif len(entry.key.encode()) > KEY_SIZE_MAX:
            results[position] = S3Error("KeyTooLongError")
        elif entry.if_match is None:
            plain[around].append(position)
    # Before anything is deleted, so that where the trail takes nothing the whole request can be refused.
    told = _record_failures(context, request, entries, results, frozenset())
    for around, positions in plain.items():
        if positions:
            done = bucket.delete_many([named[position] for position in positions], bypass_governance=around)
            for position, result in zip(positions, done, strict=True):
                results[position] = result
    for position, entry in enumerate(entries):
        if results[position] is None:
            try:
                results[position] = bucket.delete(
                    entry.key,
                    version_id=entry.version_id,
                    if_match=entry.if_match,
                    bypass_governance=decided[position][1],
                )
            except TickVaultError as error:
                results[position] = error
    _record_failures(context, request, entries, results, told)
    return [result for result in results if result is not None]


def _record_failures(
    context: Context,
    request: Request,
    entries: list[_Entry],
    results: Sequence[DeleteResult | TickVaultError | S3Error | None],
    told: frozenset[int],
) -> frozenset[int]:
    """Have what failed in the audit trail; return the positions of what is told, with those that were."""
    failed = set()
    for position, (entry, result) in enumerate(zip(entries, results, strict=True)):
        if isinstance(result, Exception) and position not in told:
            record_member(context.store.auditor, request, entry.key, entry.version_id, result)
            failed.add(position)
    return told | failed


def _deleted(entry: _Entry, result: DeleteResult, versioned: bool) -> str:
    marker = ""
    if result.delete_marker:
        marker = "<DeleteMarker>true</DeleteMarker>"
        if versioned:
            marker += xml.tag("DeleteMarkerVersionId", result.version_id)
    return f"<Deleted>{xml.tag('Key', entry.key)}{xml.tag('VersionId', entry.version_id)}{marker}</Deleted>"
