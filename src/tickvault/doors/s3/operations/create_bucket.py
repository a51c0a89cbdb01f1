"""CreateBucket: a new, empty, private bucket.

Invariants: any region name is taken and given back; what would change how the bucket stores its objects and
is not offered is refused.

Source: Amazon S3 API Reference, CreateBucket.
"""

from __future__ import annotations

import re
from typing import Any

from tickvault.doors.s3.canned_acl import object_acl
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.object_headers import refuse_unsupported
from tickvault.doors.s3.request_document import read_optional
from tickvault.doors.s3.tag_sets import BUCKET_TAG_COUNT_MAX, check
from tickvault.errors import AlreadyExistsError, InvalidInputError

_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_OWNERSHIPS = frozenset({"BucketOwnerPreferred", "ObjectWriter"})


async def create_bucket(context: Context, request: Request) -> Response:
    """Answer CreateBucket."""
    headers = request.headers
    object_lock = headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
    refuse_unsupported(headers)
    ownership = headers.get("x-amz-object-ownership")
    if ownership is not None and ownership not in _OWNERSHIPS:
        if ownership != "BucketOwnerEnforced":
            raise S3Error("InvalidArgument", None, ArgumentName="x-amz-object-ownership", ArgumentValue=ownership)
        raise not_implemented("Object ownership BucketOwnerEnforced")
    documents: dict[str, Any] = {}
    acl = object_acl(headers.get("x-amz-acl", "private"))
    if acl != "private":
        documents["acl"] = acl
    configuration = await read_optional(request, "CreateBucketConfiguration")
    if configuration is not None:
        for name in ("Location", "Bucket"):
            if configuration.find(name) is not None:
                raise not_implemented(f"{name} in CreateBucketConfiguration")
        location = configuration.value("LocationConstraint")
        if location:
            if _REGION.fullmatch(location) is None:
                raise S3Error("InvalidLocationConstraint", "The specified location-constraint is not valid")
            documents["location"] = location
        tags = configuration.find("Tags")
        if tags is not None:
            pairs = [(tag.raw("Key") or "", tag.raw("Value") or "") for tag in tags.all("Tag")]
            documents["tagging"] = check(pairs, BUCKET_TAG_COUNT_MAX)
    try:
        await context.in_thread(
            context.store.create_bucket, request.bucket, documents=documents or None, object_lock=object_lock
        )
    except AlreadyExistsError:
        raise S3Error("BucketAlreadyOwnedByYou", BucketName=request.bucket) from None
    except InvalidInputError as error:
        raise S3Error("InvalidBucketName", str(error), BucketName=request.bucket) from None
    return Response(200, {"Location": f"/{request.bucket}"})
