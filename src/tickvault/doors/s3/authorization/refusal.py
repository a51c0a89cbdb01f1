"""What the one is told who may not.

Invariants: a refusal repeats what was asked and which kind of policy stood in the way, never a policy, its name or
anything of what is stored; an unsigned request is told no more than that.

Source: IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

from tickvault.doors.s3.errors import S3Error
from tickvault.security.policy import Decision, Principal, Reason
from tickvault.security.policy.decide import BOUNDARY, BUCKET_POLICY, SESSION_POLICY, TRUST_POLICY

_DENIED_IN = {
    BUCKET_POLICY: "a resource-based policy",
    TRUST_POLICY: "a resource-based policy",
    BOUNDARY: "a permissions boundary",
    SESSION_POLICY: "a session policy",
}
_MISSING = {
    Reason.NOT_IN_BOUNDARY: "no permissions boundary allows",
    Reason.NOT_IN_SESSION: "no session policy allows",
    Reason.NOT_IN_PARENT: "no identity-based policy of its user allows",
    Reason.NOT_TRUSTED: "no resource-based policy allows",
}


def refused(principal: Principal, action: str, resource: str, decision: Decision) -> S3Error:
    """Return the answer to one who may not."""
    if principal.kind == "anonymous":
        return S3Error("AccessDenied")
    return S3Error("AccessDenied", message(principal, action, resource, decision))


def message(principal: Principal, action: str, resource: str, decision: Decision) -> str:
    """Return why, in AWS's words."""
    if decision.reason is Reason.EXPLICIT_DENY:
        why = f"with an explicit deny in {_DENIED_IN.get(decision.policy, 'an identity-based policy')}"
    else:
        why = f"because {_MISSING.get(decision.reason, 'no identity-based policy allows')} the {action} action"
    return f'User: {principal.arn} is not authorized to perform: {action} on resource: "{resource}" {why}'
