"""The names of S3's actions as the server access log writes them: ``REST.PUT.OBJECT`` for ``PutObject``.

Invariants: an action without a name in Amazon's log is not given a false one; it is ``TICKVAULT.`` and its own name.

Source: Amazon S3 User Guide, "Amazon S3 server access log format" (operation: ``REST.HTTP_method.resource_type``) and
the values that its examples and "Using Amazon S3 access logs to identify requests" show.
"""

from __future__ import annotations

_OPERATIONS = {
    "AbortMultipartUpload": "REST.DELETE.UPLOAD",
    "CompleteMultipartUpload": "REST.POST.UPLOAD",
    "CopyObject": "REST.COPY.OBJECT",
    "CreateBucket": "REST.PUT.BUCKET",
    "CreateMultipartUpload": "REST.POST.UPLOADS",
    "DeleteBucket": "REST.DELETE.BUCKET",
    "DeleteObject": "REST.DELETE.OBJECT",
    "DeleteObjectVersion": "REST.DELETE.OBJECT",
    "DeleteObjects": "REST.POST.MULTI_OBJECT_DELETE",
    "GetBucketLocation": "REST.GET.LOCATION",
    "GetObject": "REST.GET.OBJECT",
    "GetObjectVersion": "REST.GET.OBJECT",
    "HeadBucket": "REST.HEAD.BUCKET",
    "HeadObject": "REST.HEAD.OBJECT",
    "ListBuckets": "REST.GET.SERVICE",
    "ListMultipartUploads": "REST.GET.UPLOADS",
    "ListObjectVersions": "REST.GET.BUCKETVERSIONS",
    "ListObjects": "REST.GET.BUCKET",
    "ListObjectsV2": "REST.GET.BUCKET",
    "ListParts": "REST.GET.UPLOAD",
    "PostObject": "REST.POST.OBJECT",
    "PutObject": "REST.PUT.OBJECT",
    "UploadPart": "REST.PUT.PART",
    "UploadPartCopy": "REST.COPY.PART",
    "LifecycleExpiration": "S3.EXPIRE.OBJECT",
}
#: Resources that are read, written and removed under one name.
_RESOURCES = {
    "BucketAcl": "ACL",
    "BucketCors": "CORS",
    "BucketEncryption": "ENCRYPTION",
    "BucketLifecycleConfiguration": "LIFECYCLE",
    "BucketLifecycle": "LIFECYCLE",
    "BucketLogging": "LOGGING_STATUS",
    "BucketPolicy": "BUCKETPOLICY",
    "BucketTagging": "TAGGING",
    "BucketVersioning": "VERSIONING",
    "ObjectAcl": "ACL",
    "ObjectAttributes": "OBJECT_ATTRIBUTES",
    "ObjectLegalHold": "LEGAL_HOLD",
    "ObjectLockConfiguration": "OBJECT_LOCK_CONFIGURATION",
    "ObjectRetention": "RETENTION",
    "ObjectTagging": "OBJECT_TAGGING",
}
_METHODS = ("Get", "Put", "Delete")


def operation(action: str) -> str:
    """Return the log's name of an action.

    >>> operation("PutObject"), operation("GetBucketVersioning"), operation("TrailBegun")
    ('REST.PUT.OBJECT', 'REST.GET.VERSIONING', 'TICKVAULT.TRAILBEGUN')
    """
    known = _OPERATIONS.get(action)
    if known is not None:
        return known
    for method in _METHODS:
        resource = _RESOURCES.get(action.removeprefix(method)) if action.startswith(method) else None
        if resource is not None:
            return f"REST.{method.upper()}.{resource}"
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in action)
    return f"TICKVAULT.{name.upper()}" if name else "-"
