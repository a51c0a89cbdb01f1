"""S3's error codes: their statuses, their XML, and what each error of TickVault becomes.

Invariants: every answer that is not a success goes through `error_response`; an exception nobody foresaw
becomes ``InternalError`` with no word of its own text, which may hold paths or keys, and is logged in full on
the server. A response to HEAD, and one with status 304, has no body.

Source: Amazon S3 API Reference, "Error responses".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from tickvault.doors.s3.message import Response
from tickvault.doors.s3.xml import escape
from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BucketNotFoundError,
    BusyError,
    ClosedError,
    ConflictError,
    DiskFullError,
    FormatError,
    IntegrityError,
    InvalidInputError,
    LockedError,
    NotEmptyError,
    NotFoundError,
    PoisonedError,
    PreconditionFailedError,
    StorageError,
    TickVaultError,
    UploadNotFoundError,
    VersionNotFoundError,
)
from tickvault.security.keyring.faults import KeyFault

log = logging.getLogger("tickvault.s3")

#: Between two lines of the log on keys that cannot be used, seconds.
_TOLD_EVERY_S = 60.0
_told_of_keys_at = -_TOLD_EVERY_S

#: Code -> (HTTP status, message where the raiser gives none).
CODES: dict[str, tuple[int, str]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs."),
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (403, "CORSResponse: This CORS request is not allowed."),
    "AuthorizationHeaderMalformed": (400, "The authorization header you provided is invalid."),
    "AuthorizationQueryParametersError": (
        400,
        "The authorization query parameters that you provided are not valid.",
    ),
    "BadDigest": (
        400,
        "The Content-MD5 or checksum value that you specified did not match what the server received.",
    ),
    "BadRequest": (400, "Bad Request"),
    "BucketAlreadyExists": (
        409,
        "The requested bucket name is not available. Select a different name and try again.",
    ),
    "BucketAlreadyOwnedByYou": (
        409,
        "The bucket that you tried to create already exists, and you own it.",
    ),
    "BucketNotEmpty": (409, "The bucket that you tried to delete is not empty."),
    "ConditionalRequestConflict": (
        409,
        "A conflicting operation occurred during the request. Retry the request.",
    ),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed object size."),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalLocationConstraintException": (
        400,
        "The specified location constraint is not valid for the Region this request was sent to.",
    ),
    "IllegalVersioningConfigurationException": (400, "The versioning configuration specified is not valid."),
    "IncompleteBody": (
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    ),
    "IncorrectNumberOfFilesInPostRequest": (400, "POST requires exactly one file upload per request."),
    "InternalError": (500, "An internal error occurred. Try again."),
    "InvalidAccessKeyId": (403, "The AWS access key ID that you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidBucketState": (409, "The request is not valid for the current state of the bucket."),
    "InvalidEncryptionAlgorithmError": (
        400,
        "The encryption request you specified is not valid. The valid value is AES256.",
    ),
    "KMS.DisabledException": (400, "The key is disabled."),
    "KMS.KMSInvalidStateException": (400, "The state of the key does not allow this."),
    "KMS.NotFoundException": (400, "The key that was named does not exist."),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid."),
    "InvalidObjectState": (403, "The operation is not valid for the current state of the object."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found. The part might not have been uploaded, or "
        "the specified entity tag might not have matched the part's entity tag.",
    ),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    "InvalidPolicyDocument": (
        400,
        "The content of the form does not meet the conditions of the policy document.",
    ),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidRetentionPeriod": (400, "The retention period is not valid."),
    "InvalidSecurity": (403, "The provided security credentials are not valid."),
    "InvalidStorageClass": (400, "The storage class you specified is not valid"),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidTagError": (400, "The tag provided was not a valid tag."),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "InvalidURI": (400, "The specified URI couldn't be parsed."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedACLError": (400, "The ACL that you provided was not well formed or did not validate."),
    "MalformedPOSTRequest": (400, "The body of your POST request is not well-formed multipart/form-data."),
    "MalformedXML": (
        400,
        "The XML that you provided was not well formed or did not validate against our schema.",
    ),
    "MaxMessageLengthExceeded": (400, "Your request was too large."),
    "MaxPostPreDataLengthExceededError": (
        400,
        "Your POST request fields preceding the upload file were too large.",
    ),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingFields": (400, "A required field is missing."),
    "MissingRequestBodyError": (400, "Request body is empty."),
    "MissingSecurityHeader": (400, "Your request is missing a required header."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist."),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchObjectLockConfiguration": (404, "The specified object does not have a ObjectLock configuration"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchUpload": (
        404,
        "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have "
        "been aborted or completed.",
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotImplemented": (
        501,
        "A header or operation you provided implies functionality that is not implemented",
    ),
    "NotModified": (304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "OperationAborted": (
        409,
        "A conflicting conditional operation is in progress against this resource. Try again.",
    ),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RequestHeaderSectionTooLarge": (400, "Your request headers exceed the maximum allowed size."),
    "RequestTimeout": (
        400,
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "ServerSideEncryptionConfigurationNotFoundError": (
        404,
        "The server side encryption configuration was not found",
    ),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and "
        "signing method.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "TooManyBuckets": (400, "You have attempted to create more buckets than are allowed per account."),
    "UnexpectedContent": (400, "This request contains unsupported content."),
    "UnsupportedSignature": (400, "The provided request is signed with an unsupported signature."),
    "XAmzContentChecksumMismatch": (
        400,
        "The provided 'x-amz-checksum' header does not match what was computed.",
    ),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}

#: What each error of TickVault is to an S3 client; the most specific class wins. A message is passed on where
#: it speaks of the caller's own input, and replaced by S3's where it may speak of the server's disk.
TICKVAULT_CODES: dict[type[BaseException], tuple[str, bool]] = {
    NotFoundError: ("NoSuchKey", False),
    BucketNotFoundError: ("NoSuchBucket", False),
    UploadNotFoundError: ("NoSuchUpload", False),
    VersionNotFoundError: ("NoSuchVersion", False),
    AlreadyExistsError: ("BucketAlreadyOwnedByYou", False),
    ConflictError: ("ConditionalRequestConflict", False),
    PreconditionFailedError: ("PreconditionFailed", False),
    NotEmptyError: ("BucketNotEmpty", False),
    InvalidInputError: ("InvalidArgument", True),
    LockedError: ("AccessDenied", True),
    AccessDeniedError: ("AccessDenied", False),
    BusyError: ("SlowDown", False),
    IntegrityError: ("InternalError", False),
    FormatError: ("InternalError", False),
    PoisonedError: ("ServiceUnavailable", False),
    StorageError: ("InternalError", False),
    ClosedError: ("ServiceUnavailable", False),
    DiskFullError: ("ServiceUnavailable", False),
    TickVaultError: ("InternalError", False),
}

_DISK_MESSAGES: dict[type[BaseException], str] = {
    IntegrityError: "The stored object is damaged: its bytes do not match their checksum.",
    PoisonedError: "The vault refuses writes since a sync to its disk failed.",
    DiskFullError: "The vault's disk is full; nothing was changed.",
}


class S3Error(Exception):
    """An answer in S3's own words.

    Parameters
    ----------
    code : str
        A key of `CODES`; an unknown one is answered with status 400.
    message : str, optional
        Replaces the default message of the code.
    status : int, optional
        Replaces the HTTP status of the code.
    headers : mapping, optional
        Headers of the answer, such as ``x-amz-delete-marker``.
    **details : object
        Further elements of the XML, such as ``BucketName="b"``; None is left out.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **details: object,
    ) -> None:
        default_status, default_message = CODES.get(code, (400, code))
        self.code = code
        self.message = default_message if message is None else message
        self.status = default_status if status is None else status
        self.headers: dict[str, str] = dict(headers) if headers else {}
        self.details = details
        super().__init__(f"{code}: {self.message}")


def not_implemented(feature: str) -> S3Error:
    """Return the answer for something S3 has and this door does not: ``NotImplemented``, status 501."""
    return S3Error("NotImplemented", f"{feature} is not implemented")


def as_s3_error(error: BaseException) -> S3Error:
    """Translate any exception; what is not foreseen is logged and becomes ``InternalError``."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, TickVaultError):
        stated = getattr(error, "s3_code", None)  # a rule of S3 that the object layer checked in S3's name
        if isinstance(stated, str):
            if isinstance(error, KeyFault):
                _tell_of_keys(error)
            message = getattr(error, "s3_message", str(error) if isinstance(error, InvalidInputError) else None)
            return S3Error(stated, message)
        for kind in type(error).__mro__:
            if kind in TICKVAULT_CODES:
                code, passes_message = TICKVAULT_CODES[kind]
                break
        if code in ("InternalError", "ServiceUnavailable"):
            log.error("a request failed on the vault: %s: %s", type(error).__name__, error)
        message = str(error) if passes_message else _DISK_MESSAGES.get(type(error))
        headers: dict[str, str] = {}
        if getattr(error, "delete_marker", False):
            headers["x-amz-delete-marker"] = "true"
            version_id = getattr(error, "version_id", None)
            if version_id:
                headers["x-amz-version-id"] = version_id
        return S3Error(code, message, headers=headers)
    log.error("unexpected error in the S3 door", exc_info=error)
    return S3Error("InternalError")


def _tell_of_keys(fault: KeyFault) -> None:
    """Tell whoever runs the server why nothing encrypted is answered; now and then, since every request ends so."""
    global _told_of_keys_at
    if fault.s3_code != KeyFault.s3_code or time.monotonic() < _told_of_keys_at + _TOLD_EVERY_S:
        return
    _told_of_keys_at = time.monotonic()
    log.error("what is encrypted is answered %s: %s", fault.s3_code, fault)


def error_response(error: BaseException, request_id: str, resource: str = "", *, method: str = "GET") -> Response:
    """Return the answer for an exception.

    Parameters
    ----------
    error : BaseException
        An `S3Error`, an error of TickVault, or anything else.
    request_id : str
        The id the answer carries in ``x-amz-request-id``.
    resource : str
        The raw path of the request, as S3's ``Resource`` element.
    method : str
        For HEAD the body is left out.

    Returns
    -------
    Response
        With S3's XML; see "Error responses" in the S3 API Reference.
    """
    failure = as_s3_error(error)
    headers = dict(failure.headers)
    told, reason, version_id = told_of(error, failure)
    if method == "HEAD" or failure.status == 304:
        if failure.status != 304:
            headers["Content-Type"] = "application/xml"
        return Response(failure.status, headers, error=told, reason=reason, version_id=version_id)
    headers["Content-Type"] = "application/xml"
    details = "".join(
        f"<{name}>{escape(str(value))}</{name}>" for name, value in failure.details.items() if value is not None
    )
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{failure.code}</Code><Message>{escape(failure.message)}</Message>{details}"
        f"<Resource>{escape(resource)}</Resource><RequestId>{escape(request_id)}</RequestId>"
        f"<HostId>{escape(request_id)}</HostId></Error>"
    )
    return Response(failure.status, headers, body.encode(), error=told, reason=reason, version_id=version_id)


def told_of(error: BaseException, failure: S3Error) -> tuple[str, str, str]:
    """Return what the audit trail is told of an error: its code, why, and the version that a lock keeps."""
    reason = failure.message if failure.status == 403 else ""
    if isinstance(error, LockedError):
        return "ObjectLocked", reason, error.where[2]
    return failure.code, reason, ""
