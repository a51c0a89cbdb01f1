"""POST Object: an upload from a browser's form.

Invariants: the form's policy is signed, unexpired and covers every field, or nothing is written; the file
streams in constant memory and its size is held against the policy; the answer is what the form asked for: a
redirect, 200, 201 or 204.

Source: Amazon S3 API Reference, POST Object; "Browser-Based Uploads Using POST (AWS Signature Version 4)".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tickvault.doors.s3 import checksums, xml
from tickvault.doors.s3.auditing import caller_of
from tickvault.doors.s3.authorization.signer import Signer
from tickvault.doors.s3.context import KEY_SIZE_MAX, PUT_SIZE_MAX, Context
from tickvault.doors.s3.digests import DEFAULT_ALGORITHM
from tickvault.doors.s3.encryption_headers import asked_encryption
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.form_data import Form, boundary_of
from tickvault.doors.s3.lock_headers import asked_lock
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.object_headers import stored_headers, to_wire
from tickvault.doors.s3.operations.put_object import written_headers
from tickvault.doors.s3.post_policy import verify_post_policy
from tickvault.doors.s3.request_document import parsed
from tickvault.doors.s3.tag_sets import from_element
from tickvault.doors.s3.upload_stream import Sink, commit, discard, pour
from tickvault.engine.attribution import set_caller
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ObjectInfo


async def post_object(context: Context, request: Request) -> Response:
    """Answer POST Object."""
    form = Form(request.body, boundary_of(request.headers.get("content-type", "")))
    await form.read_fields()
    fields = form.fields
    key = fields.get("key", "").replace("${filename}", form.filename)
    if "key" not in fields or not key:
        raise S3Error("InvalidArgument", "Bucket POST must contain a field named 'key'.", ArgumentName="key")
    fields["key"] = key
    request.key = key[:KEY_SIZE_MAX]  # what the audit trail says that it was about, also where it is refused
    grant = verify_post_policy(
        fields,
        bucket=request.bucket,
        find=context.find,
        size_max=PUT_SIZE_MAX,
        now=context.clock(),
    )
    if len(key.encode()) > KEY_SIZE_MAX:
        raise S3Error("KeyTooLongError", Size=len(key.encode()), MaxSizeAllowed=KEY_SIZE_MAX)
    _authorize(context, request, grant.signer, fields)
    bucket = context.bucket(request.bucket)
    options = _options(request, fields)
    if "lock" in options and bucket.info.object_lock is None:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration", BucketName=request.bucket)
    expected = _announced(fields)
    algorithm = next(iter(expected), DEFAULT_ALGORITHM)
    writer = await context.in_thread(bucket.open_writer, key, None, **options)
    sink = Sink(writer, (algorithm,))
    try:
        size = await pour(context, form.file(), sink, grant.size_max)
        if size < grant.size_min:
            raise S3Error("EntityTooSmall", ProposedSize=size, MinSizeAllowed=grant.size_min)
        values = sink.checksums()
        if expected and expected != values:
            raise S3Error("BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum.")
        info = await commit(context, sink, values)
    except BaseException:
        discard(context, sink)
        raise
    return _answer(request, bucket, info, fields)


def _authorize(context: Context, request: Request, signer: Signer, fields: dict[str, str]) -> None:
    """Ask whether the one who signed the form may write what it says, as PutObject would."""
    request.signer, request.access_key, request.identity = signer, signer.access_key, signer.identity
    request.caller = None  # nobody knew who it was when the request began
    set_caller(caller_of(request))
    # Headers of the request itself are not signed here: what the form says counts.
    headers = {name: request.headers[name] for name in ("user-agent", "referer") if name in request.headers}
    headers.update((name, value) for name, value in _headers_of(fields).items() if name.startswith("x-amz-"))
    if fields.get("tagging"):
        headers["x-amz-tagging"] = urlencode(from_element(parsed(fields["tagging"].encode(), "Tagging")))
    asked = replace(request, key=fields["key"], headers=headers)
    context.authorizer.authorize(context, asked, "post_object")


def _headers_of(fields: dict[str, str]) -> dict[str, str]:
    """Return the fields of a form as the headers of a PutObject."""
    # Form fields are UTF-8 text already; header values are read as Latin-1 first.
    headers = {name: value.encode().decode("latin-1") for name, value in fields.items()}
    if "acl" in headers:
        headers["x-amz-acl"] = headers.pop("acl")
    return headers


def _announced(fields: dict[str, str]) -> dict[str, str]:
    found = {}
    for name, algorithm in checksums.HEADER_ALGORITHMS.items():
        if name in fields:
            found[algorithm] = checksums.encode(checksums.decode(algorithm, fields[name]))
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    return found


def _options(request: Request, fields: dict[str, str]) -> dict[str, Any]:
    headers = _headers_of(fields)
    content_type, metadata, kept = stored_headers(headers)
    options: dict[str, Any] = {"content_type": content_type, "metadata": metadata, "headers": kept}
    encryption = asked_encryption(request, headers)
    if encryption is not None:
        options["encryption"] = encryption
    if fields.get("tagging"):
        options["tags"] = from_element(parsed(fields["tagging"].encode(), "Tagging"))
    lock = asked_lock(headers)
    if lock is not None:
        options["lock"] = lock
    return options


def _answer(request: Request, bucket: Bucket, info: ObjectInfo, fields: dict[str, str]) -> Response:
    """Return the answer the form asked for, else 204."""
    headers = written_headers(bucket.info, info, request)
    scheme = "https" if request.secure else "http"
    location = f"{scheme}://{request.host}/{quote(f'{bucket.name}/{info.key}')}"
    headers["Location"] = location
    redirect = fields.get("success_action_redirect") or fields.get("redirect")
    if redirect and urlsplit(redirect).scheme in ("http", "https"):
        values = urlencode({"bucket": bucket.name, "key": info.key, "etag": f'"{info.etag}"'})
        separator = "&" if urlsplit(redirect).query else "?"
        headers["Location"] = to_wire(f"{redirect}{separator}{values}")
        return Response(303, headers)
    status = fields.get("success_action_status")
    if status == "201":
        headers["Content-Type"] = "application/xml"
        body = (
            f"{xml.DECLARATION}<PostResponse>{xml.tag('Location', location)}{xml.tag('Bucket', bucket.name)}"
            f"{xml.tag('Key', info.key)}<ETag>&quot;{info.etag}&quot;</ETag></PostResponse>"
        )
        return Response(201, headers, body.encode())
    return Response(200 if status == "200" else 204, headers)
