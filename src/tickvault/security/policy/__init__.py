"""AWS JSON policies: read, compiled, decided, explained.

`parse_policy` reads one; `PolicySet` holds those of a principal and decides a request; `explain` says why.

Invariants: nothing here reads a file, a clock or a socket; what is denied in AWS for the same policies and request is
denied here, and every difference stands in ``docs/reference/policies.md``.
"""

from tickvault.security.policy.actions import ACTIONS, SERVICE_RESOURCE, Action, expand, find_action
from tickvault.security.policy.cache import DecisionCache
from tickvault.security.policy.decide import Decision, PolicySet, Reason
from tickvault.security.policy.document import Policy, parse_policy
from tickvault.security.policy.explain import Explanation, Finding, explain
from tickvault.security.policy.limits import PolicyKind
from tickvault.security.policy.principals import ANONYMOUS, Principal
from tickvault.security.policy.public_access import NO_BLOCK, PublicAccessBlock, is_public
from tickvault.security.policy.question import AccessRequest
from tickvault.security.policy.roles import ROLES, role_policy

__all__ = [
    "ACTIONS",
    "ANONYMOUS",
    "NO_BLOCK",
    "ROLES",
    "SERVICE_RESOURCE",
    "AccessRequest",
    "Action",
    "Decision",
    "DecisionCache",
    "Explanation",
    "Finding",
    "Policy",
    "PolicyKind",
    "PolicySet",
    "Principal",
    "PublicAccessBlock",
    "Reason",
    "expand",
    "explain",
    "find_action",
    "is_public",
    "parse_policy",
    "role_policy",
]
