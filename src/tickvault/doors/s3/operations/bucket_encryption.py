"""GetBucketEncryption, PutBucketEncryption and DeleteBucketEncryption.

Invariants: a put replaces the whole setting, after its key was found; ``AES256`` keeps the suite that the bucket has,
which may be another than its name says (`docs/reference/s3.md`); what this door does not offer is refused.

Source: Amazon S3 API Reference, GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.encryption_headers import parse_key_id
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.request_document import read_required
from tickvault.objects.encryption.setting import BucketEncryption, EncryptionRequest


def get_bucket_encryption(context: Context, request: Request) -> Response:
    """Answer GetBucketEncryption."""
    setting = context.bucket(request.bucket).info.encryption
    if setting is None:
        raise S3Error("ServerSideEncryptionConfigurationNotFoundError", BucketName=request.bucket)
    if setting.mode == "kms":
        default = xml.tag("SSEAlgorithm", "aws:kms") + xml.tag("KMSMasterKeyID", setting.key_id)
    else:
        default = xml.tag("SSEAlgorithm", "AES256")
    rule = (
        f"<Rule><ApplyServerSideEncryptionByDefault>{default}</ApplyServerSideEncryptionByDefault>"
        "<BucketKeyEnabled>false</BucketKeyEnabled></Rule>"
    )
    headers = {"Content-Type": "application/xml"}
    return Response(200, headers, xml.document("ServerSideEncryptionConfiguration", rule))


async def put_bucket_encryption(context: Context, request: Request) -> Response:
    """Answer PutBucketEncryption."""
    bucket = context.bucket(request.bucket)
    asked = _asked(await read_required(request, "ServerSideEncryptionConfiguration"), bucket.info.encryption)
    await context.in_thread(bucket.set_encryption, asked)
    return Response(200)


async def delete_bucket_encryption(context: Context, request: Request) -> Response:
    """Answer DeleteBucketEncryption: new versions are not encrypted from now on."""
    bucket = context.bucket(request.bucket)
    await context.in_thread(bucket.set_encryption, None)
    return Response(204)


def _asked(root: xml.Element, setting: BucketEncryption | None) -> EncryptionRequest:
    """Return the setting that a document asks for.

    Raises
    ------
    S3Error
        ``MalformedXML`` unless it has one rule with a default; ``InvalidArgument`` for an algorithm that is none.
    """
    rules = list(root.all("Rule"))
    default = rules[0].find("ApplyServerSideEncryptionByDefault") if len(rules) == 1 else None
    if default is None:
        raise S3Error("MalformedXML")
    if rules[0].find("BlockedEncryptionTypes") is not None:
        raise not_implemented("BlockedEncryptionTypes")
    algorithm, key = default.value("SSEAlgorithm"), default.value("KMSMasterKeyID")
    suite = None if setting is None else setting.suite
    if algorithm == "AES256":
        if key:
            raise S3Error(
                "InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"
            )
        # The key of a bucket that has a suite of its own is not changed by a client that only knows of AES256.
        key_id = setting.key_id if setting is not None and setting.mode == "managed" else None
        return EncryptionRequest("managed", suite, key_id)
    if algorithm == "aws:kms":
        return EncryptionRequest("kms", suite, parse_key_id(key) if key else None)
    if algorithm == "aws:kms:dsse":
        raise not_implemented("Dual-layer server-side encryption (aws:kms:dsse)")
    raise S3Error("MalformedXML")
