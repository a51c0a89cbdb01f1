"""Why a decision is what it is, statement by statement.

Invariants: the verdict is that of `PolicySet.decide`, asked again, never a second opinion; every statement of every
policy that has a say is listed, those that do not match with the first part that keeps them from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tickvault.security.policy.actions import find_action
from tickvault.security.policy.conditions import Condition
from tickvault.security.policy.decide import BUCKET_POLICY, TRUST_POLICY, Decision, PolicySet
from tickvault.security.policy.document import Policy
from tickvault.security.policy.index import Entry
from tickvault.security.policy.limits import shown
from tickvault.security.policy.patterns import Context
from tickvault.security.policy.principals import Named
from tickvault.security.policy.question import AccessRequest, Question
from tickvault.security.policy.statement import Effect

Part = Literal["", "action", "resource", "principal", "condition"]


class Finding(NamedTuple):
    """What one statement says of the request."""

    policy: str
    sid: str
    effect: Effect
    matched: bool
    part: Part
    """The first part that does not match, ``""`` if all do."""
    why: str


class Explanation(NamedTuple):
    """A decision, and what each statement had to do with it."""

    request: AccessRequest
    decision: Decision
    findings: tuple[Finding, ...]

    def text(self) -> str:
        """Return it in lines to read."""
        request, decision = self.request, self.decision
        who = request.principal.arn or request.principal.kind
        lines = [
            f"{who} asks {request.action} on {request.resource}",
            f"{'ALLOWED' if decision.allowed else 'DENIED'}: {decision.reason}"
            + (f" ({_place(decision.policy, decision.sid)})" if decision.policy else ""),
        ]
        if not self.findings:
            lines.append("no policy has a say in it")
        for finding in self.findings:
            mark = "matches" if finding.matched else "no match"
            lines.append(f"  {mark:8}  {finding.effect:5}  {_place(finding.policy, finding.sid)}: {finding.why}")
        return "\n".join(lines)


def _place(policy: str, sid: str) -> str:
    return f"{policy}, {sid}" if sid else policy


def explain(
    policies: PolicySet,
    request: AccessRequest,
    bucket_policy: Policy | None = None,
    *,
    trust_policy: Policy | None = None,
) -> Explanation:
    """Decide a request, and say what each statement says of it.

    Parameters
    ----------
    policies : PolicySet
        Of the principal.
    bucket_policy : Policy, optional
        That of the bucket that the resource lies in.
    trust_policy : Policy, optional
        That of the role that would be assumed; then the question is `PolicySet.decide_role`'s.
    """
    if trust_policy is not None:
        decision = policies.decide_role(request, trust_policy)
    else:
        decision = policies.decide(request, bucket_policy)
    findings = tuple(_findings(policies, request, trust_policy or bucket_policy, ""))
    return Explanation(request, decision, findings)


def _findings(
    policies: PolicySet, request: AccessRequest, of_resource: Policy | None, prefix: str
) -> Iterator[Finding]:
    question = Question(request)
    if of_resource is not None:
        name = TRUST_POLICY if of_resource.kind == "trust" else BUCKET_POLICY
        for entry in of_resource.index.entries:
            yield _finding(entry._replace(policy=prefix + name), question)
    indexes = [policies.identity, *policies.sessions]
    if policies.boundary is not None:
        indexes.insert(1, policies.boundary)
    for index in indexes:
        for entry in index.entries:
            yield _finding(entry._replace(policy=prefix + entry.policy), question)
    if policies.parent is not None and policies.parent_principal is not None:
        of_parent = request._replace(principal=policies.parent_principal)
        yield from _findings(policies.parent, of_parent, of_resource, f"parent: {prefix}")


def _finding(entry: Entry, question: Question) -> Finding:
    part, why = _mismatch(entry, question)
    statement = entry.statement
    return Finding(entry.policy, statement.name, statement.effect, not part, part, why)


def _mismatch(entry: Entry, question: Question) -> tuple[Part, str]:
    statement, context = entry.statement, question.context
    if not statement.matches_action(question.action):
        element = "NotAction" if statement.not_action else "Action"
        action = find_action(question.action)
        asked = action.name if action else shown(question.action)
        return "action", f"{element} {_some(statement.actions)} is not about {asked}"
    if not statement.matches_resource(question.resource, context):
        element = "NotResource" if statement.not_resource else "Resource"
        return "resource", f"{element} {_some(statement.resources)} is not about {question.resource}"
    if statement.principal is not None:
        named = statement.principal.matched(question.principal)
        if named is Named.NOT:
            element = "NotPrincipal" if statement.principal.negated else "Principal"
            names = tuple(name for listed in statement.principal.given.values() for name in listed)
            who = question.principal.arn or "anonymous"
            if question.principal.arn in names:
                who += ", who got that name after the policy was written"
            return "principal", f"{element} {_some(names)} is not about {who}"
        if named is Named.ACCOUNT and statement.effect == "Allow":
            return "", "names the account, which leaves it to the policies of the identity"
    for condition in statement.conditions:
        if not condition.holds(context):
            return "condition", f"the condition {_said(condition, context)} does not hold"
    if statement.conditions:
        held = "; ".join(_said(condition, context) for condition in statement.conditions)
        return "", f"action and resource match, and so do the conditions: {held}"
    return "", "action and resource match"


def _said(condition: Condition, context: Context) -> str:
    value = context.get(condition.key_folded)
    if value is None:
        given = "the request has none"
    elif isinstance(value, str):
        given = f"the request has {shown(value)}"
    else:
        given = f"the request has {_some(value)}"
    return f"{condition.operator} {condition.key} {_some(condition.values)} ({given})"


_SOME = 3


def _some(values: tuple[str, ...]) -> str:
    listed = ", ".join(shown(value) for value in values[:_SOME])
    rest = len(values) - _SOME
    return f"{listed} and {rest} more" if rest > 0 else listed
