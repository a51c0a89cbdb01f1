"""What is open to everyone, as far as it does not hang on policies alone: unsigned requests, and canned ACLs.

Whoever decides without a server (`tickvault iam simulate`) asks here too, so that both say the same.

Invariants: no ACL opens what a policy denies; a block that ignores public ACLs leaves none that opens anything; a
public policy of a bucket that restricts those lets nobody in unsigned, and still denies what it denies.

Source: Amazon S3 User Guide, "Access control list (ACL) overview", "Blocking public access to your Amazon S3 storage".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from tickvault.doors.s3.authorization.table import OPENED_BY_ACL, TABLE
from tickvault.objects.bucket_rules import Rules
from tickvault.security.policy import Decision, Principal, Reason

#: Action that a canned ACL may open to everyone -> whose ACL; only where it reads: not for copies nor for attributes.
ACTIONS_OPENED_BY_ACL: Mapping[str, Literal["bucket", "object"]] = MappingProxyType(
    {
        action: whose
        for operation, whose in OPENED_BY_ACL.items()
        for need in TABLE[operation]
        for action in (need.action, need.version_action)
        if action
    }
)


def lets_anyone_in(rules: Rules | None) -> bool:
    """Tell whether the policy of a bucket with these rules may let unsigned requests in."""
    if rules is None or rules.policy is None:
        return False
    return not (rules.public and rules.block.restrict_public_buckets)


def answered(decision: Decision, principal: Principal, rules: Rules | None) -> Decision:
    """Return what a server makes of the decision of the policies."""
    if decision.allowed and principal.kind == "anonymous" and not lets_anyone_in(rules):
        # What it denies is denied all the same, so that no ACL opens it.
        return Decision(False, Reason.NO_ALLOW)
    return decision


def acls_count(decision: Decision, rules: Rules | None) -> bool:
    """Tell whether a public ACL opens what no policy allows."""
    if decision.reason is Reason.EXPLICIT_DENY:
        return False
    return rules is None or not rules.block.ignore_public_acls
