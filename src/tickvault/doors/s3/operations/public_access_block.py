"""GetPublicAccessBlock, PutPublicAccessBlock and DeletePublicAccessBlock.

A bucket that was never given one has `DEFAULT_BLOCK`, and says so; one that it was taken from blocks nothing.

Invariants: the four settings are replaced together; one that is not named is off, as in S3.

Source: Amazon S3 API Reference, the operations of those names, PublicAccessBlockConfiguration.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.request_document import read_required
from tickvault.objects.bucket_rules import BLOCK_DOCUMENT, block_document, block_of
from tickvault.security.policy import PublicAccessBlock

#: Settings as S3's XML names them, in the order of `PublicAccessBlock`.
NAMES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_FLAGS = {"true": True, "false": False}


def get_public_access_block(context: Context, request: Request) -> Response:
    """Answer GetPublicAccessBlock."""
    info = context.bucket(request.bucket).info
    if info.documents.get(BLOCK_DOCUMENT) == block_document(None):
        raise S3Error("NoSuchPublicAccessBlockConfiguration", BucketName=request.bucket)
    flags = zip(NAMES, block_of(info), strict=True)
    body = xml.document(
        "PublicAccessBlockConfiguration", *(xml.tag(name, "true" if flag else "false") for name, flag in flags)
    )
    return Response(200, {"Content-Type": "application/xml"}, body)


async def put_public_access_block(context: Context, request: Request) -> Response:
    """Answer PutPublicAccessBlock."""
    bucket = context.bucket(request.bucket)
    root = await read_required(request, "PublicAccessBlockConfiguration")
    flags = [_FLAGS.get((root.value(name) or "false").lower()) for name in NAMES]
    if None in flags or any(child.name not in NAMES for child in root.children):
        raise S3Error("MalformedXML")
    block = PublicAccessBlock(*(bool(flag) for flag in flags))
    await context.in_thread(bucket.set_document, BLOCK_DOCUMENT, block_document(block))
    return Response(200)


async def delete_public_access_block(context: Context, request: Request) -> Response:
    """Answer DeletePublicAccessBlock."""
    bucket = context.bucket(request.bucket)
    await context.in_thread(bucket.set_document, BLOCK_DOCUMENT, block_document(None))
    return Response(204)
