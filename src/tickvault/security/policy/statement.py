"""One statement of a policy, read and compiled.

Invariants: a statement never changes; what it says of a request depends on the request alone; the parts are asked in
the order of their cost, action, resource, principal, conditions, and the answer does not depend on that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tickvault.security.policy.actions import action_pattern
from tickvault.security.policy.arns import ArnPattern, arn_pattern, literal_bucket
from tickvault.security.policy.conditions import Condition
from tickvault.security.policy.patterns import Context, Pattern
from tickvault.security.policy.principals import PrincipalElement

Effect = Literal["Allow", "Deny"]


class Statement:
    """What one entry of ``Statement`` says."""

    __slots__ = (
        "_action_patterns",
        "_any_resource",
        "_exact_resources",
        "_patterns",
        "_prefixes",
        "actions",
        "buckets",
        "conditions",
        "effect",
        "index",
        "keys_read",
        "needle",
        "not_action",
        "not_resource",
        "principal",
        "resource_has_variables",
        "resources",
        "sid",
    )

    def __init__(
        self,
        *,
        index: int,
        sid: str,
        effect: Effect,
        principal: PrincipalElement | None,
        actions: Sequence[str],
        not_action: bool,
        resources: Sequence[str],
        not_resource: bool,
        conditions: tuple[Condition, ...],
        place: str,
        variables: bool,
    ) -> None:
        self.index = index
        self.sid = sid
        self.effect = effect
        self.principal = principal
        self.actions = tuple(actions)
        self.not_action = not_action
        self.resources = tuple(resources)
        self.not_resource = not_resource
        self.conditions = conditions
        self._action_patterns = tuple(action_pattern(action, f"{place}.Action") for action in actions)

        element = "NotResource" if not_resource else "Resource"
        compiled = [arn_pattern(resource, f"{place}.{element}", variables=variables) for resource in resources]
        exact: list[str] = []
        prefixes: list[str] = []
        rest: list[Pattern | ArnPattern] = []
        for pattern in compiled:
            fixed = pattern.fixed if isinstance(pattern, Pattern) else None
            if fixed is not None and fixed.exact is not None:
                exact.append(fixed.exact)
            elif fixed is not None and fixed.prefix is not None:
                prefixes.append(fixed.prefix)
            else:
                rest.append(pattern)
        self._exact_resources = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._patterns = tuple(rest)
        # A trust policy has no resource: its role is the resource.
        self.resource_has_variables = any(pattern.variables for pattern in compiled)
        self._any_resource = "" in prefixes or not resources

        self.needle = compiled[0].needle if len(compiled) == 1 and not not_resource else ""
        """What every resource that it is about contains."""
        buckets = {literal_bucket(resource, variables=variables) for resource in resources}
        self.buckets: frozenset[str] | None = None
        """The buckets that it can be about, None if it can be about any."""
        if buckets and None not in buckets and not not_resource:
            self.buckets = frozenset(bucket for bucket in buckets if bucket is not None)

        keys = [key for condition in conditions for key in condition.keys_read]
        keys += [key for pattern in compiled for key in pattern.variables]
        self.keys_read = tuple(dict.fromkeys(keys))
        """The keys of the request, in lower case, that the answer depends on."""

    @property
    def name(self) -> str:
        """Its ``Sid``, else its place in the policy."""
        return self.sid or f"Statement[{self.index}]"

    def matches_action(self, action: str) -> bool:
        """Tell whether it is about an action, whose name is in lower case."""
        return any(pattern.matches(action) for pattern in self._action_patterns) != self.not_action

    def matches_resource(self, resource: str, context: Context) -> bool:
        """Tell whether it is about a resource."""
        if self._any_resource:
            return not self.not_resource
        if resource in self._exact_resources or (self._prefixes and resource.startswith(self._prefixes)):
            return not self.not_resource
        for pattern in self._patterns:
            if pattern.matches(resource, context):
                return not self.not_resource
        return self.not_resource

    def holds(self, context: Context) -> bool:
        """Tell whether every condition holds."""
        return all(condition.holds(context) for condition in self.conditions)
