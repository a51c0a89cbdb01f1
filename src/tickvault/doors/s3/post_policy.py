"""The signed policy of a browser form upload (POST object).

Invariants: every form field except the file, the signature and the policy itself must be covered by a
condition, as S3 demands; the signature is checked before the policy is looked into; nothing is let through
without an expiry.

Source: Amazon S3 API Reference, "Browser-Based Uploads Using POST (AWS Signature Version 4)".
"""

from __future__ import annotations

import binascii
import hmac
import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tickvault.doors.s3.authorization.signer import Find, Signer
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.signing_key import SigningKey, parse_scope, parse_timestamp
from tickvault.doors.s3.sigv4 import ALGORITHM

POLICY_SIZE_MAX = 64 * 1024
CONDITION_COUNT_MAX = 256
_UNCOVERED = frozenset({"file", "policy", "x-amz-signature", "submit"})


class PostGrant(NamedTuple):
    """What a policy allows."""

    signer: Signer
    size_min: int
    size_max: int
    """Both inclusive, in bytes; check the file against them (`EntityTooSmall`, `EntityTooLarge`)."""


def verify_post_policy(
    fields: Mapping[str, str],
    *,
    bucket: str,
    find: Find,
    size_max: int = 5 * 1024**3,
    now: float | None = None,
) -> PostGrant:
    """Check the signature and the conditions of a form.

    Parameters
    ----------
    fields : mapping of str to str
        The form fields before the file, names in lower case, ``key`` after ``${filename}`` was replaced.
    bucket : str
        The bucket the form was posted to.
    find : callable
        Returns who signs with an access key and a session token (the field ``x-amz-security-token``).
    size_max : int
        Upper bound where the policy sets none.
    now : float, optional
        Seconds since the epoch.

    Raises
    ------
    S3Error
        ``AccessDenied``, ``SignatureDoesNotMatch``, ``InvalidAccessKeyId``, ``InvalidPolicyDocument`` and
        others.
    """
    policy = fields.get("policy")
    if not policy:
        if "awsaccesskeyid" in fields or "x-amz-signature" in fields:
            raise S3Error("MissingFields", "The form needs the field 'policy'.")
        raise S3Error("AccessDenied")
    if "awsaccesskeyid" in fields:
        raise S3Error(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    signer = _check_signature(fields, policy, find)
    document = _decode(policy)
    _check_expiration(document, time.time() if now is None else now)
    size_range = _check_conditions(document, fields, bucket)
    if size_range is None:
        return PostGrant(signer, 0, size_max)
    return PostGrant(signer, size_range[0], min(size_range[1], size_max))


def _check_signature(fields: Mapping[str, str], policy: str, find: Find) -> Signer:
    if fields.get("x-amz-algorithm") != ALGORITHM:
        raise S3Error("InvalidArgument", f"x-amz-algorithm must be {ALGORITHM}.")
    missing = [name for name in ("x-amz-credential", "x-amz-date", "x-amz-signature") if not fields.get(name)]
    if missing:
        raise S3Error("MissingFields", f"The form needs the field {missing[0]!r}.")
    access_key, date, region, _ = parse_scope(fields["x-amz-credential"], "InvalidArgument")
    parse_timestamp(fields["x-amz-date"])
    if fields["x-amz-date"][:8] != date:
        raise S3Error("InvalidArgument", "The date of x-amz-credential must be that of x-amz-date.")
    # As every field, the token must be covered by a condition of the policy, which is what is signed.
    signer = find(access_key, fields.get("x-amz-security-token"))
    expected = SigningKey.derive(signer.secret, date, region).sign(policy)
    if not hmac.compare_digest(expected.encode(), fields["x-amz-signature"].encode()):
        raise S3Error("SignatureDoesNotMatch", None, AWSAccessKeyId=access_key)
    return signer


def _decode(policy: str) -> dict[str, Any]:
    if len(policy) > POLICY_SIZE_MAX:
        raise S3Error("InvalidPolicyDocument", f"The policy must be at most {POLICY_SIZE_MAX} bytes.")
    try:
        document = json.loads(binascii.a2b_base64("".join(policy.split()), strict_mode=True))
    except (ValueError, RecursionError):
        raise S3Error("InvalidPolicyDocument", "The policy must be JSON in base64.") from None
    if not isinstance(document, dict) or not isinstance(document.get("conditions"), list):
        raise S3Error("InvalidPolicyDocument", "The policy must hold 'expiration' and a list of 'conditions'.")
    if len(document["conditions"]) > CONDITION_COUNT_MAX:
        raise S3Error("InvalidPolicyDocument", f"The policy must hold at most {CONDITION_COUNT_MAX} conditions.")
    return document


def _check_expiration(document: Mapping[str, Any], now: float) -> None:
    expiration = document.get("expiration")
    try:
        if not isinstance(expiration, str) or not expiration.endswith("Z"):
            raise ValueError(expiration)
        moment = datetime.fromisoformat(expiration)
    except ValueError:
        raise S3Error(
            "InvalidPolicyDocument", "The expiration of the policy must be an ISO 8601 time in UTC."
        ) from None
    if now > moment.timestamp():
        raise S3Error("AccessDenied", "Invalid according to Policy: Policy expired.")


def _check_conditions(document: Mapping[str, Any], fields: Mapping[str, str], bucket: str) -> tuple[int, int] | None:
    """Raise unless every condition holds and every field is covered; return the size range, if any."""
    actual = {**fields, "bucket": bucket}
    covered: set[str] = set()
    size_range: tuple[int, int] | None = None
    for condition in document["conditions"]:
        if isinstance(condition, dict) and len(condition) == 1:
            ((name, value),) = condition.items()
            kind = "eq"
        elif isinstance(condition, list) and len(condition) == 3:
            kind, name, value = condition
            kind = str(kind).lower()
            if kind == "content-length-range":
                size_range = _size_range(name, value)
                continue
            if not isinstance(name, str) or not name.startswith("$"):
                raise _malformed(condition)
            name = name[1:]
        else:
            raise _malformed(condition)
        if not isinstance(name, str) or not isinstance(value, str) or kind not in ("eq", "starts-with"):
            raise _malformed(condition)
        name = name.lower()
        covered.add(name)
        given = actual.get(name, "")
        if not (given == value if kind == "eq" else _starts_with(name, given, value)):
            raise S3Error(
                "AccessDenied",
                f"Invalid according to Policy: Policy Condition failed: {json.dumps(condition)}",
            )
    for name in fields:
        if name not in covered and name not in _UNCOVERED and not name.startswith("x-ignore-"):
            raise S3Error("AccessDenied", f"Invalid according to Policy: Extra input fields: {name}")
    return size_range


def _starts_with(name: str, given: str, value: str) -> bool:
    if name == "content-type":  # a list of types must start so in each of its entries
        return all(entry.strip().startswith(value) for entry in given.split(","))
    return given.startswith(value)


def _size_range(low: object, high: object) -> tuple[int, int]:
    try:
        size_min, size_max = int(str(low)), int(str(high))
    except ValueError:
        raise _malformed(["content-length-range", low, high]) from None
    if not 0 <= size_min <= size_max:
        raise _malformed(["content-length-range", low, high])
    return size_min, size_max


def _malformed(condition: object) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: Invalid condition {json.dumps(condition)}.")
