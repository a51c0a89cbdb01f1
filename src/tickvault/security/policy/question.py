"""What is asked, and which statements are about it.

Invariants: the context that conditions see is made at most once, and only if a statement needs it; a resource
policy's grant is told by the closest naming of the principal among the statements that match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tickvault.security.policy.arns import bucket_of
from tickvault.security.policy.index import Entry, ForAction
from tickvault.security.policy.keys import full_context
from tickvault.security.policy.patterns import Context
from tickvault.security.policy.principals import Named, Principal

_NO_CONTEXT: Context = {}
#: What a trust policy gives by how it names a principal, from least to most: to everyone less than to who is named.
_TRUST = (Named.NOT, Named.ACCOUNT, Named.EVERYONE, Named.ROLE, Named.ITSELF)


class AccessRequest(NamedTuple):
    """What is asked."""

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, str | tuple[str, ...]] = {}
    """Condition keys and their values, in any case; what the principal is need not stand here."""


class Question:
    """A request, and what follows from it, made when first needed."""

    __slots__ = ("_context", "action", "bucket", "given", "principal", "resource")

    def __init__(self, request: AccessRequest) -> None:
        self.principal, action, self.resource, self.given = request
        self.action = action.lower()
        self.bucket = bucket_of(self.resource)
        self._context: Context | None = None

    @property
    def context(self) -> Context:
        """What conditions and variables see."""
        context = self._context
        if context is None:
            context = self._context = full_context(self.principal, self.given)
        return context

    def matches(self, entry: Entry) -> bool:
        """Tell whether a statement that is about the action is about the rest too."""
        statement = entry.statement
        context = self.context if statement.resource_has_variables else _NO_CONTEXT
        if not statement.matches_resource(self.resource, context):
            return False
        element = statement.principal
        if element is not None and not element.matched(self.principal):
            return False
        return not statement.conditions or statement.holds(self.context)

    def denied_by(self, found: ForAction) -> Entry | None:
        """Return the first statement that denies."""
        named = found.by_bucket.get(self.bucket)
        return (named and self._first(named.denies)) or self._first(found.anywhere.denies)

    def allowed_by(self, found: ForAction) -> Entry | None:
        """Return the first statement that allows."""
        named = found.by_bucket.get(self.bucket)
        return (named and self._first(named.allows)) or self._first(found.anywhere.allows)

    def _first(self, entries: tuple[Entry, ...]) -> Entry | None:
        resource = self.resource
        for entry in entries:
            if entry[0] in resource and self.matches(entry):
                return entry
        return None

    def granted_by(self, found: ForAction) -> tuple[Named, Entry | None]:
        """Return how closely a resource policy's Allow names the principal, at best, and the statement."""
        best, by = Named.NOT, None
        for group in found.groups(self.bucket):
            for entry in group.allows:
                element = entry.statement.principal
                assert element is not None, "a policy of a resource names principals"
                named = element.matched(self.principal)
                if named > best and self.matches(entry):
                    best, by = named, entry
        return best, by

    def trusted_by(self, found: ForAction) -> tuple[Named, Entry | None]:
        """Return how a trust policy's Allow names the principal where it gives it most, and the statement."""
        best, by = Named.NOT, None
        for group in found.groups(self.bucket):
            for entry in group.allows:
                element = entry.statement.principal
                assert element is not None, "a policy of a resource names principals"
                named = element.trusting(self.principal)
                if _TRUST.index(named) > _TRUST.index(best) and self.matches(entry):
                    best, by = named, entry
        return best, by
