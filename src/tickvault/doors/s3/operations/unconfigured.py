"""Subresources this door does not offer.

Invariants: none of them ever answers 200; a read answers with the code S3 gives for a bucket where the
feature is not configured, since clients probe for it, and everything else answers ``NotImplemented``. The
bucket is looked up first, so that a missing one is told as such.

Source: Amazon S3 API Reference, the Get operations named in `UNCONFIGURED`.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request, Response

#: Subresource -> code of S3 for a bucket where nothing is configured. GetBucketEncryption and the like.
UNCONFIGURED = {
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "replication": "ReplicationConfigurationNotFoundError",
    "website": "NoSuchWebsiteConfiguration",
}
#: These are kept by id; a read with an id finds none, a list of them is not offered.
BY_ID = frozenset({"analytics", "intelligent-tiering", "inventory", "metrics"})
#: All subresources S3 knows that have no operation here.
SUBRESOURCES = frozenset(
    {
        *UNCONFIGURED,
        *BY_ID,
        "abac",
        "accelerate",
        "annotation",
        "logging",
        "metadataAnnotationTable",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "notification",
        "renameObject",
        "requestPayment",
        "restore",
        "select",
        "select-type",
        "session",
        "torrent",
    }
)


def unconfigured_bucket(context: Context, request: Request) -> Response:
    """Answer a read of a bucket's configuration that cannot be set here."""
    context.bucket(request.bucket)
    for name in request.query:
        if name in UNCONFIGURED:
            raise S3Error(UNCONFIGURED[name], BucketName=request.bucket)
        if name in BY_ID and "id" in request.query:
            raise S3Error("NoSuchConfiguration", BucketName=request.bucket)
    raise _unknown(request)


def unsupported(context: Context, request: Request) -> Response:
    """Answer an operation that is not offered."""
    if request.bucket:
        context.bucket(request.bucket)
    raise _unknown(request)


def _unknown(request: Request) -> S3Error:
    named = next((name for name in request.query if name in SUBRESOURCES), None)
    what = f"{request.method} ?{named}" if named else f"{request.method} of this resource"
    return not_implemented(what)
