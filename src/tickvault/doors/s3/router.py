"""From a request to its operation.

Invariants: one table names every operation; a query parameter that names a subresource decides, and one that
nobody here knows is never ignored on a request that changes something, so that a DELETE of a part of a bucket
cannot become a DELETE of the bucket. `route` and what it returns never raise: an error is an answer. No operation
runs before the authorizer let it; a form upload and a request of STS ask it themselves, since who sent them stands in
their bodies.

Source: Amazon S3 API Reference, "Actions".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType

from tickvault.doors.s3.auditing import action_name, caller_of
from tickvault.doors.s3.context import KEY_SIZE_MAX, Context
from tickvault.doors.s3.errors import S3Error, error_response, not_implemented
from tickvault.doors.s3.message import Deferred, Outcome, Request, Response
from tickvault.doors.s3.operations.abort_multipart_upload import abort_multipart_upload
from tickvault.doors.s3.operations.acl import get_bucket_acl, get_object_acl, put_bucket_acl, put_object_acl
from tickvault.doors.s3.operations.bucket_cors import (
    add_cors_headers,
    delete_bucket_cors,
    get_bucket_cors,
    preflight,
    put_bucket_cors,
)
from tickvault.doors.s3.operations.bucket_encryption import (
    delete_bucket_encryption,
    get_bucket_encryption,
    put_bucket_encryption,
)
from tickvault.doors.s3.operations.bucket_lifecycle import (
    delete_bucket_lifecycle,
    get_bucket_lifecycle,
    put_bucket_lifecycle,
)
from tickvault.doors.s3.operations.bucket_policy import (
    delete_bucket_policy,
    get_bucket_policy,
    get_bucket_policy_status,
    put_bucket_policy,
)
from tickvault.doors.s3.operations.bucket_tagging import (
    delete_bucket_tagging,
    get_bucket_tagging,
    put_bucket_tagging,
)
from tickvault.doors.s3.operations.bucket_versioning import get_bucket_versioning, put_bucket_versioning
from tickvault.doors.s3.operations.complete_multipart_upload import complete_multipart_upload
from tickvault.doors.s3.operations.copy_object import copy_object
from tickvault.doors.s3.operations.create_bucket import create_bucket
from tickvault.doors.s3.operations.create_multipart_upload import create_multipart_upload
from tickvault.doors.s3.operations.delete_bucket import delete_bucket
from tickvault.doors.s3.operations.delete_object import delete_object
from tickvault.doors.s3.operations.delete_objects import delete_objects
from tickvault.doors.s3.operations.get_bucket_location import get_bucket_location
from tickvault.doors.s3.operations.get_object import get_object
from tickvault.doors.s3.operations.get_object_attributes import get_object_attributes
from tickvault.doors.s3.operations.head_bucket import head_bucket
from tickvault.doors.s3.operations.head_object import head_object
from tickvault.doors.s3.operations.list_buckets import list_buckets
from tickvault.doors.s3.operations.list_multipart_uploads import list_multipart_uploads
from tickvault.doors.s3.operations.list_object_versions import list_object_versions
from tickvault.doors.s3.operations.list_objects import list_objects
from tickvault.doors.s3.operations.list_objects_v2 import list_objects_v2
from tickvault.doors.s3.operations.list_parts import list_parts
from tickvault.doors.s3.operations.object_lock import (
    get_object_legal_hold,
    get_object_lock_configuration,
    get_object_retention,
    put_object_legal_hold,
    put_object_lock_configuration,
    put_object_retention,
)
from tickvault.doors.s3.operations.object_tagging import (
    delete_object_tagging,
    get_object_tagging,
    put_object_tagging,
)
from tickvault.doors.s3.operations.post_object import post_object
from tickvault.doors.s3.operations.public_access_block import (
    delete_public_access_block,
    get_public_access_block,
    put_public_access_block,
)
from tickvault.doors.s3.operations.put_object import check_put_object, put_object
from tickvault.doors.s3.operations.unconfigured import (
    SUBRESOURCES,
    unconfigured_bucket,
    unsupported,
)
from tickvault.doors.s3.operations.upload_part import check_upload_part, upload_part
from tickvault.doors.s3.operations.upload_part_copy import upload_part_copy
from tickvault.doors.s3.read_body import ReadBody
from tickvault.doors.s3.request_document import CONFIGURATION_SIZE_MAX
from tickvault.doors.s3.sts import answer_sts
from tickvault.engine.attribution import reset_caller, set_caller
from tickvault.errors import BucketNotFoundError

__all__ = ["Context", "route"]

Handler = Callable[[Context, Request], Response | Awaitable[Response]]

#: (method, bucket named, key named) -> subresource -> operation. The empty name is the operation without a
#: subresource; of several subresources in one request the first in the table decides.
OPERATIONS: Mapping[tuple[str, bool, bool], Mapping[str, Handler]] = MappingProxyType(
    {
        ("GET", False, False): {"": list_buckets},
        ("GET", True, False): {
            "location": get_bucket_location,
            "versioning": get_bucket_versioning,
            "versions": list_object_versions,
            "uploads": list_multipart_uploads,
            "tagging": get_bucket_tagging,
            "cors": get_bucket_cors,
            "lifecycle": get_bucket_lifecycle,
            "acl": get_bucket_acl,
            "object-lock": get_object_lock_configuration,
            "policy": get_bucket_policy,
            "policyStatus": get_bucket_policy_status,
            "publicAccessBlock": get_public_access_block,
            **dict.fromkeys(SUBRESOURCES, unconfigured_bucket),
            "encryption": get_bucket_encryption,
            "list-type": list_objects_v2,
            "": list_objects,
        },
        ("HEAD", True, False): {"": head_bucket},
        ("PUT", True, False): {
            "versioning": put_bucket_versioning,
            "tagging": put_bucket_tagging,
            "cors": put_bucket_cors,
            "lifecycle": put_bucket_lifecycle,
            "acl": put_bucket_acl,
            "object-lock": put_object_lock_configuration,
            "policy": put_bucket_policy,
            "publicAccessBlock": put_public_access_block,
            **dict.fromkeys(SUBRESOURCES, unsupported),
            "encryption": put_bucket_encryption,
            "": create_bucket,
        },
        ("DELETE", True, False): {
            "tagging": delete_bucket_tagging,
            "cors": delete_bucket_cors,
            "lifecycle": delete_bucket_lifecycle,
            "policy": delete_bucket_policy,
            "publicAccessBlock": delete_public_access_block,
            **dict.fromkeys(SUBRESOURCES, unsupported),
            "encryption": delete_bucket_encryption,
            "": delete_bucket,
        },
        ("POST", True, False): {"delete": delete_objects, **dict.fromkeys(SUBRESOURCES, unsupported)},
        ("GET", True, True): {
            "uploadId": list_parts,
            "tagging": get_object_tagging,
            "acl": get_object_acl,
            "retention": get_object_retention,
            "legal-hold": get_object_legal_hold,
            "attributes": get_object_attributes,
            **dict.fromkeys(SUBRESOURCES, unsupported),
            "": get_object,
        },
        ("HEAD", True, True): {"": head_object},
        ("PUT", True, True): {
            "uploadId": upload_part,
            "tagging": put_object_tagging,
            "acl": put_object_acl,
            "retention": put_object_retention,
            "legal-hold": put_object_legal_hold,
            **dict.fromkeys(SUBRESOURCES, unsupported),
            "": put_object,
        },
        ("DELETE", True, True): {
            "uploadId": abort_multipart_upload,
            "tagging": delete_object_tagging,
            **dict.fromkeys(SUBRESOURCES, unsupported),
            "": delete_object,
        },
        ("POST", True, True): {
            "uploads": create_multipart_upload,
            "uploadId": complete_multipart_upload,
            **dict.fromkeys(SUBRESOURCES, unsupported),
        },
    }
)

#: Query parameters that qualify an operation that changes something, without choosing another. Names that begin with
#: ``x-`` are the client's own, or belong to a presigned URL.
_QUALIFIERS = frozenset({"partNumber", "versionId", "select-type", "delete"})
_PLAIN_READS: dict[str, Handler] = {"GET": get_object, "HEAD": head_object}
_PLAIN_ACTIONS = {"GET": "GetObject", "HEAD": "HeadObject"}
_PLAIN_NAMES = {"GET": "get_object", "HEAD": "head_object"}
#: Operations of large bodies -> what they would say of the head.
_HEAD_CHECKS: dict[Handler, Callable[[Context, Request], object]] = {
    put_object: check_put_object,
    upload_part: check_upload_part,
    unsupported: unsupported,
}


def route(context: Context, request: Request) -> Response | Awaitable[Response]:
    """Run one request.

    Parameters
    ----------
    context : Context
    request : Request
        Its signature was checked; an empty ``access_key`` is an unsigned request.

    Returns
    -------
    Response or awaitable of Response
        A plain `Response` where nothing had to wait, a `Deferred` where only a commit has.
    """
    try:
        # The commonest request first: a signed read of a whole object has one lookup to make.
        if request.key and request.signer is not None and not request.query and request.method in _PLAIN_READS:
            request.action = _PLAIN_ACTIONS[request.method]
            _check_request(request, context)
            context.authorizer.authorize(context, request, _PLAIN_NAMES[request.method])
            answer = _PLAIN_READS[request.method](context, request)
        else:
            answer = _dispatch(context, request)
    except Exception as error:
        answer = _failed(request, error)
    if type(answer) is Response:
        if "origin" in request.headers:
            add_cors_headers(context, request, answer)
        return answer
    if type(answer) is Deferred:
        answer.wrap(partial(_finish, context, request))
        return answer
    return _guarded(context, request, answer)  # type: ignore[arg-type]


def _dispatch(context: Context, request: Request) -> Response | Awaitable[Response]:
    if request.method == "OPTIONS":
        request.action = "Preflight"
        return preflight(context, request)
    handler: Handler
    if _is_form(request):
        request.action = "PostObject"
        _refuse_unknown(request.query, {})
        handler = post_object
    elif request.method == "POST" and not request.bucket:
        handler = answer_sts
    else:
        handler = _named(context, request)
        if not context.authorizer.authorize(context, request, handler.__name__):
            handler = partial(_after_body, handler)
    if request.method in ("GET", "HEAD"):
        return handler(context, request)
    # Whoever asked is known to every operation that is made from here on, also in the task that goes on with it.
    token = set_caller(caller_of(request))
    try:
        return handler(context, request)
    finally:
        reset_caller(token)


def refuse_early(context: Context, request: Request) -> Response | None:
    """Return the answer to a request that its head alone is reason enough to refuse, else None.

    For a client that waits to be invited before it sends a body. What is not refused here may be refused by the
    operation, which checks everything again.
    """
    try:
        if _is_form(request) or (request.method == "POST" and not request.bucket):
            return None  # who sent it stands in its body, or signed it
        handler = _named(context, request)
        if not context.authorizer.authorize(context, request, handler.__name__):
            return None
        if handler in _HEAD_CHECKS:
            _HEAD_CHECKS[handler](context, request)
        elif request.bucket and handler is not create_bucket:
            context.bucket(request.bucket)
    except Exception as error:
        return _finish(context, request, partial(_failed, request, error))
    return None


async def _after_body(handler: Handler, context: Context, request: Request) -> Response:
    """Run an operation whose right depends on what stands in its body, once it is there."""
    body = ReadBody(await request.body.read(CONFIGURATION_SIZE_MAX))
    request.body = body
    context.authorizer.authorize(context, request, handler.__name__, body.data)
    answer = handler(context, request)
    return answer if isinstance(answer, Response) else await answer


def _named(context: Context, request: Request) -> Handler:
    """Return the operation that a request names, well-formed as far as its head tells."""
    handler = find_operation(request)
    request.action = action_name(handler.__name__)
    if request.action == "DeleteObject" and "versionId" in request.query:
        request.action = "DeleteObjectVersion"
    if request.signer is None and not context.allow_anonymous:
        raise S3Error("AccessDenied")
    _check_request(request, context)
    return handler


def find_operation(request: Request) -> Handler:
    """Return the operation that a request names.

    Raises
    ------
    S3Error
        ``MethodNotAllowed`` when nothing of S3 has that form; ``NotImplemented`` for a subresource or a
        parameter that no operation here has.
    """
    method, query = request.method, request.query
    table = OPERATIONS.get((method, bool(request.bucket), bool(request.key)))
    if table is None:
        raise S3Error("MethodNotAllowed", Method=method, ResourceType="BUCKET" if request.bucket else "SERVICE")
    chosen = ""
    if query:
        if method not in ("GET", "HEAD"):
            _refuse_unknown(query, table)
        chosen = next((name for name in table if name and name in query), "")
    handler = table.get(chosen)
    if handler is None:
        raise S3Error("MethodNotAllowed", Method=method, ResourceType="OBJECT" if request.key else "BUCKET")
    if "x-amz-copy-source" in request.headers and method == "PUT":
        if handler is put_object:
            return copy_object
        if handler is upload_part:
            return upload_part_copy
    if handler in (put_object, upload_part) and ("uploadId" in query) != ("partNumber" in query):
        raise S3Error(
            "InvalidArgument", "This operation needs both uploadId and partNumber.", ArgumentName="partNumber"
        )
    return handler


def _refuse_unknown(query: Mapping[str, str], table: Mapping[str, Handler]) -> None:
    for name in query:
        if name not in table and name not in _QUALIFIERS and not name.lower().startswith("x-"):
            raise not_implemented(f"Query parameter {name} on this operation")


def _is_form(request: Request) -> bool:
    return (
        request.method == "POST"
        and bool(request.bucket)
        and not request.key
        and request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    )


def _check_request(request: Request, context: Context) -> None:
    key, headers = request.key, request.headers
    # A character takes at most four bytes, so that only long keys need to be measured.
    if len(key) * 4 > KEY_SIZE_MAX:
        size = len(key.encode())
        if size > KEY_SIZE_MAX:
            raise S3Error("KeyTooLongError", Size=size, MaxSizeAllowed=KEY_SIZE_MAX)
    if "x-amz-expected-bucket-owner" in headers and headers["x-amz-expected-bucket-owner"] != context.account_id:
        raise S3Error("AccessDenied")


async def _guarded(context: Context, request: Request, answer: Awaitable[Response]) -> Response:
    if request.caller is not None:
        set_caller(request.caller)  # for this task, which is the request's own
    try:
        response = await answer
    except Exception as error:
        return _finish(context, request, partial(_failed, request, error))
    return _finish(context, request, lambda: response)


def _finish(context: Context, request: Request, outcome: Outcome) -> Response:
    """Return the answer to send: what came out, or the error that it is."""
    response: Response
    try:
        response = outcome()
    except Exception as error:
        response = _failed(request, error)
    if "origin" in request.headers:
        add_cors_headers(context, request, response)
    return response


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, BucketNotFoundError):
        error = S3Error("NoSuchBucket", BucketName=request.bucket)
    return error_response(error, request.request_id, request.path, method=request.method)
