"""Canned ACLs: what they are called, what they open, and how S3 writes them down.

Invariants: there is one owner, who may do everything; a canned ACL can only open reading, to anyone, and only
where the server was told to answer unsigned requests; whatever is not one of the canned ACLs below is
refused, never narrowed.

Sources: S3 User Guide, "Access control list (ACL) overview", "Canned ACL"; API Reference, PutBucketAcl,
PutObjectAcl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.xml import DECLARATION, NAMESPACE, Element, tag

if TYPE_CHECKING:
    from tickvault.doors.s3.context import Context

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"

#: Canned ACL -> grants besides the owner's full control.
GRANTS: dict[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "public-read": ((ALL_USERS, "READ"),),
    "public-read-write": ((ALL_USERS, "READ"), (ALL_USERS, "WRITE")),
    "authenticated-read": ((AUTHENTICATED_USERS, "READ"),),
}
#: With one owner of everything these grant what the owner has anyway.
_OWNER_ONLY = frozenset({"bucket-owner-read", "bucket-owner-full-control"})
_NOT_OFFERED = frozenset({"aws-exec-read", "log-delivery-write"})
_PUBLIC = frozenset({"public-read", "public-read-write"})


def object_acl(name: str) -> str:
    """Return the canned ACL a header names, in the form it is stored.

    Raises
    ------
    S3Error
        ``InvalidArgument`` for a name S3 does not know, ``NotImplemented`` for one this door does not offer.
    """
    if name in GRANTS:
        return name
    if name in _OWNER_ONLY:
        return "private"
    if name in _NOT_OFFERED:
        raise not_implemented(f"Canned ACL {name}")
    raise S3Error("InvalidArgument", None, ArgumentName="x-amz-acl", ArgumentValue=name)


def is_public(acl: object) -> bool:
    """Return whether a stored ACL lets anyone read."""
    return acl in _PUBLIC


def opens(acl: str) -> bool:
    """Return whether a canned ACL grants anything to others than the owner, which is what S3 calls public."""
    return bool(GRANTS.get(acl))


def policy_document(context: Context, acl: str) -> bytes:
    """Return the AccessControlPolicy of a canned ACL."""
    owner = f"{tag('ID', context.owner_id)}{tag('DisplayName', context.owner_name)}"
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    grants = [
        f'<Grant><Grantee {xsi} xsi:type="CanonicalUser">{owner}</Grantee><Permission>FULL_CONTROL</Permission></Grant>'
    ]
    grants.extend(
        f'<Grant><Grantee {xsi} xsi:type="Group">{tag("URI", group)}</Grantee>{tag("Permission", permission)}</Grant>'
        for group, permission in GRANTS.get(acl, ())
    )
    return (
        f'{DECLARATION}<AccessControlPolicy xmlns="{NAMESPACE}"><Owner>{owner}</Owner>'
        f"<AccessControlList>{''.join(grants)}</AccessControlList></AccessControlPolicy>"
    ).encode()


def recognise(owner_id: str, policy: Element) -> str:
    """Return the canned ACL that an AccessControlPolicy spells out.

    Parameters
    ----------
    owner_id : str
        Of the owner of every bucket, as `Context` has it.
    policy : Element

    Raises
    ------
    S3Error
        ``MalformedACLError`` when it is no ACL, ``NotImplemented`` when its grants are those of no canned
        ACL.
    """
    listing = policy.find("AccessControlList")
    if policy.name != "AccessControlPolicy" or listing is None:
        raise S3Error("MalformedACLError")
    granted: set[tuple[str, str]] = set()
    for grant in listing.all("Grant"):
        grantee = grant.find("Grantee")
        permission = grant.value("Permission")
        if grantee is None or permission not in {"READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"}:
            raise S3Error("MalformedACLError")
        group = grantee.value("URI")
        if group is not None:
            granted.add((group, permission))
        elif grantee.value("ID") != owner_id:
            raise not_implemented("A grant to another account")
    for name, grants in GRANTS.items():
        if granted == set(grants):
            return name
    raise not_implemented("An ACL that is not a canned one")
