"""GetBucketCors, PutBucketCors, DeleteBucketCors, and the preflight request of a browser.

Invariants: a preflight needs no signature, since a browser sends none, and tells nothing but what the
bucket's rules allow.

Source: Amazon S3 API Reference, GetBucketCors, PutBucketCors, DeleteBucketCors, OPTIONS object.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.cors_rules import METHODS, find_rule, from_element, rule_headers, to_document
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.object_headers import to_wire
from tickvault.doors.s3.request_document import read_required
from tickvault.errors import TickVaultError


def get_bucket_cors(context: Context, request: Request) -> Response:
    """Answer GetBucketCors."""
    cors = context.bucket(request.bucket).info.documents.get("cors")
    if not cors:
        raise S3Error("NoSuchCORSConfiguration", BucketName=request.bucket)
    return Response(200, {"Content-Type": "application/xml"}, to_document(cors))


async def put_bucket_cors(context: Context, request: Request) -> Response:
    """Answer PutBucketCors."""
    bucket = context.bucket(request.bucket)
    cors = from_element(await read_required(request, "CORSConfiguration"))
    await context.in_thread(bucket.set_document, "cors", cors)
    return Response(200)


async def delete_bucket_cors(context: Context, request: Request) -> Response:
    """Answer DeleteBucketCors."""
    bucket = context.bucket(request.bucket)
    await context.in_thread(bucket.set_document, "cors", None)
    return Response(204)


def preflight(context: Context, request: Request) -> Response:
    """Answer OPTIONS."""
    headers = request.headers
    origin = headers.get("origin")
    if not origin:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    method = headers.get("access-control-request-method", "")
    if method not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    asked = [
        name.strip().lower() for name in headers.get("access-control-request-headers", "").split(",") if name.strip()
    ]
    try:
        cors = context.bucket(request.bucket).info.documents.get("cors") if request.bucket else None
    except TickVaultError:
        cors = None  # whether a bucket exists is not told to the unsigned
    if not cors:
        raise S3Error(
            "AccessForbidden",
            "CORSResponse: CORS is not enabled for this bucket.",
            Method=method,
            ResourceType="BUCKET" if not request.key else "OBJECT",
        )
    rule = find_rule(cors, origin, method, asked)
    if rule is None:
        raise S3Error(
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed. This is usually because the "
            "evaluation of Origin, request method / Access-Control-Request-Method or "
            "Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
            Method=method,
            ResourceType="BUCKET" if not request.key else "OBJECT",
        )
    answer = rule_headers(rule, to_wire(origin))
    if asked:
        answer["Access-Control-Allow-Headers"] = to_wire(", ".join(asked))
    return Response(200, answer)


def add_cors_headers(context: Context, request: Request, response: Response) -> None:
    """Add the CORS headers to the answer of a request that names its origin."""
    origin = request.headers.get("origin")
    if not origin or not request.bucket or request.method == "OPTIONS":
        return
    try:
        cors = context.bucket(request.bucket).info.documents.get("cors")
    except TickVaultError:
        return
    rule = find_rule(cors, origin, request.method)
    if rule is not None:
        response.headers.update(rule_headers(rule, to_wire(origin)))
