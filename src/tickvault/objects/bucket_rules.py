"""What a bucket itself says of who may: its policy and its public access block, from its settings.

A bucket whose settings say nothing of public access refuses policies that are public and lets nobody in by one; its
canned ACLs are as they always were, of effect only on a server that was told to answer unsigned requests.

Invariants: what a policy gives by name it gives to those who had the name when it was written; it is compiled once per
change, and what is compiled is that of the settings at hand; a policy that cannot be read keeps everyone out, but not
the root from replacing it.

Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from tickvault.errors import InvalidInputError
from tickvault.objects.identities import keys_read
from tickvault.objects.model import BucketInfo
from tickvault.security.identity.principal_ids import principal_ids
from tickvault.security.policy import NO_BLOCK, Policy, PublicAccessBlock, is_public, parse_policy

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

log = logging.getLogger("tickvault.s3")

#: Names of the documents in a bucket's settings.
POLICY_DOCUMENT = "policy"
BLOCK_DOCUMENT = "public_access_block"
#: Beside the policy: the unique ids, by ARN, of those whom it names.
PRINCIPALS_DOCUMENT = "policy_principals"

#: What a bucket does whose settings say nothing of it.
DEFAULT_BLOCK = PublicAccessBlock(False, False, True, True)

RULES_KEPT_MAX = 4096


class Rules(NamedTuple):
    """The rules of a bucket, compiled."""

    policy: Policy | None
    keys_read: frozenset[str]
    public: bool
    """The policy gives access to everyone."""
    block: PublicAccessBlock


#: Denies everything to everyone, where a stored policy cannot be read: it could have been one that denies.
_UNREADABLE = """{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*",
 "Resource": ["arn:aws:s3:::%s", "arn:aws:s3:::%s/*"]}]}"""


class BucketRules:
    """Compiles the rules of buckets, and keeps them."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, object, object, Rules]] = {}

    def of(self, info: BucketInfo) -> Rules | None:
        """Return the rules of a bucket, None if its settings say nothing."""
        documents = info.documents
        text, block = documents.get(POLICY_DOCUMENT), documents.get(BLOCK_DOCUMENT)
        if text is None and block is None:
            return None
        ids = documents.get(PRINCIPALS_DOCUMENT)
        kept = self._kept.get(info.name)
        if kept is not None and kept[0] == text and kept[1] == block and kept[2] == ids:
            return kept[3]
        rules = _compile(info.name, text, block, ids)
        if len(self._kept) >= RULES_KEPT_MAX:
            self._kept.clear()
        self._kept[info.name] = (text, block, ids, rules)
        return rules


def block_of(info: BucketInfo) -> PublicAccessBlock:
    """Return the public access block of a bucket."""
    return _block(info.documents.get(BLOCK_DOCUMENT))


def block_document(block: PublicAccessBlock | None) -> dict[str, Any]:
    """Return what the settings keep of a block; None is one that was taken away."""
    return {} if block is None else block._asdict()


def _block(document: object) -> PublicAccessBlock:
    if document is None:
        return DEFAULT_BLOCK
    if not isinstance(document, dict) or not document:
        return NO_BLOCK
    return PublicAccessBlock(*(bool(document.get(name, True)) for name in PublicAccessBlock._fields))


def named_principals(store: ObjectStore, name: str, text: object) -> dict[str, str]:
    """Return what stands beside a policy that a bucket is to have.

    Raises
    ------
    InvalidInputError
        It names a user, role or service account that is not there.
    """
    try:
        policy = parse_policy(text if isinstance(text, str) else "", kind="bucket", for_bucket=name)
    except InvalidInputError:
        return {}  # kept as it is given, and keeps everyone out
    return principal_ids(store.documents, policy.identities, f"bucket {name}, policy")


def _compile(name: str, text: object, block: object, ids: object) -> Rules:
    if text is None:
        return Rules(None, frozenset(), False, _block(block))
    try:
        policy = parse_policy(
            text if isinstance(text, str) else "",
            kind="bucket",
            for_bucket=name,
            principal_ids=ids if isinstance(ids, dict) else {},
        )
    except InvalidInputError as error:
        log.warning(
            "bucket %s: its policy cannot be read, and keeps everyone out until it is replaced: %s", name, error
        )
        policy = parse_policy(_UNREADABLE % (name, name), kind="bucket")
    return Rules(policy, keys_read([policy]), is_public(policy), _block(block))
