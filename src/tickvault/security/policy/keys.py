"""The condition keys that this store fills in.

Invariants: a key that is not here is never in a request, so that a condition on it says what AWS says of a missing
key; names of keys are compared without case; what the principal is comes from the principal, never from the request.

Source: IAM User Guide, "AWS global condition context keys"; Amazon S3 User Guide, "Actions, resources, and condition
keys for Amazon S3".
"""

from __future__ import annotations

from collections.abc import Mapping

from tickvault.security.policy.patterns import Context
from tickvault.security.policy.principals import Principal, role_arn

#: Keys that doors put into `AccessRequest.context`.
REQUEST_KEYS = (
    "aws:CurrentTime",
    "aws:EpochTime",
    "aws:Referer",
    "aws:SecureTransport",
    "aws:SourceIp",
    "aws:TokenIssueTime",
    "aws:UserAgent",
    "iam:PermissionsBoundary",
    "iam:PolicyARN",
    "s3:authType",
    "s3:delimiter",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:object-lock-retain-until-date",
    "s3:prefix",
    "s3:RequestObjectTagKeys",
    "s3:signatureAge",
    "s3:signatureversion",
    "s3:TlsVersion",
    "s3:VersionId",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "sts:ExternalId",
    "sts:RoleSessionName",
)

#: Keys that follow from the principal.
PRINCIPAL_KEYS = ("aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalType", "aws:userid", "aws:username")

#: Keys with a name after the slash.
TAG_KEYS = ("aws:PrincipalTag/", "s3:ExistingObjectTag/", "s3:RequestObjectTag/")

#: Keys of many values, for ``ForAllValues:`` and ``ForAnyValue:``.
MULTIVALUED_KEYS = frozenset({"s3:requestobjecttagkeys"})

#: Keys, in lower case, whose value is another at the next request although nothing was asked differently.
TIMED_KEYS = frozenset(
    {"aws:currenttime", "aws:epochtime", "s3:signatureage", "s3:object-lock-remaining-retention-days"}
)

KNOWN_KEYS = frozenset(key.lower() for key in (*REQUEST_KEYS, *PRINCIPAL_KEYS))
_TAG_KEYS_LOWERED = tuple(key.lower() for key in TAG_KEYS)
_WITH_USER_NAME = ("user", "service-account")

#: What ``aws:PrincipalType`` says.
_TYPES = {
    "root": "Account",
    "user": "User",
    "role": "AssumedRole",
    "service-account": "ServiceAccount",
    "anonymous": "Anonymous",
}


def plain_value(key: str, value: str) -> str:
    """Return a value that a policy gives for a key, in the form in which requests have it.

    Parameters
    ----------
    key : str
        In lower case.

    Examples
    --------
    >>> plain_value("s3:x-amz-copy-source", "/raw/es/*")
    'raw/es/*'
    >>> plain_value("s3:x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:eu-west-1:111122223333:key/desk-7")
    'desk-7'
    """
    if key == "s3:x-amz-copy-source":
        return value.removeprefix("/")
    if key == "s3:x-amz-server-side-encryption-aws-kms-key-id" and value.startswith("arn:"):
        return value.rpartition(":key/")[2]
    return value


def is_known_key(key: str) -> bool:
    """Tell whether this store ever fills a key in."""
    lowered = key.lower()
    return lowered in KNOWN_KEYS or lowered.startswith(_TAG_KEYS_LOWERED)


def full_context(principal: Principal, given: Mapping[str, str | tuple[str, ...]]) -> Context:
    """Return what conditions see: the request's keys in lower case, and the principal's.

    Two keys that differ in case only, which tags can, become one key with the values of both. A key of no values is
    left out, and so is one that only the principal may fill.
    """
    context = {key.lower(): value for key, value in given.items()}
    # One look over all names at once is what most requests need.
    if len(context) != len(given) or () in context.values() or "aws:principal" in "\n".join(context):
        context = _merged(given)
    kind = principal.kind
    context["aws:principaltype"] = _TYPES[kind]
    context["aws:userid"] = principal.user_id
    if kind != "anonymous":
        context["aws:principalarn"] = role_arn(principal) if kind == "role" else principal.arn
        context["aws:principalaccount"] = principal.account_id
    if principal.user_name and kind in _WITH_USER_NAME:
        context["aws:username"] = principal.user_name
    else:
        context.pop("aws:username", None)
    if kind != "anonymous":
        for name, tag in principal.tags.items():
            lowered = f"aws:principaltag/{name.lower()}"
            context[lowered] = (*_values(context[lowered]), tag) if lowered in context else tag
    return context


def _merged(given: Mapping[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    context: dict[str, str | tuple[str, ...]] = {}
    for key, value in given.items():
        lowered = key.lower()
        if value != () and not lowered.startswith("aws:principal"):
            before = context.get(lowered)
            context[lowered] = value if before is None else (*_values(before), *_values(value))
    return context


def _values(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
