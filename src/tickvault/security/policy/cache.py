"""Decisions remembered while the policies stay as they are.

Invariants: what is remembered is answered only to a request that is the same in everything the decision can depend
on: the compiled policies themselves, the principal, action, resource and every condition key that a statement about
the action reads; nothing is remembered across generations of policies, and nothing that depends on the time; memory
is bounded.
"""

from __future__ import annotations

from tickvault.security.policy.decide import Decision, PolicySet
from tickvault.security.policy.document import Policy
from tickvault.security.policy.keys import full_context
from tickvault.security.policy.question import AccessRequest

#: Decisions kept, at most; about 500 bytes each.
ENTRIES_MAX = 65_536


class DecisionCache:
    """Asks a `PolicySet` once for equal requests.

    Any number of threads may share one.

    Parameters
    ----------
    entries_max : int
        Most decisions kept; of those, the ones not asked for lately go first.
    """

    __slots__ = ("_generation", "_half", "_old", "_young")

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._half = max(1, entries_max // 2)
        self._young: dict[tuple[object, ...], Decision] = {}
        self._old: dict[tuple[object, ...], Decision] = {}
        self._generation: object = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def decide(
        self, policies: PolicySet, request: AccessRequest, bucket_policy: Policy | None = None, *, generation: int
    ) -> Decision:
        """Decide as `PolicySet.decide` does.

        Parameters
        ----------
        generation : int
            Another number whenever any policy, identity or group may have changed.
        """
        key = _key(policies, request, bucket_policy, generation)
        if key is None:
            return policies.decide(request, bucket_policy)
        if generation != self._generation:
            self._young, self._old, self._generation = {}, {}, generation
        decision = self._young.get(key)
        if decision is None:
            decision = self._old.get(key)
            if decision is None:
                decision = policies.decide(request, bucket_policy)
            # Two halves that take turns: what is asked for moves to the young one, the old one is dropped whole.
            if len(self._young) >= self._half:
                self._old, self._young = self._young, {}
            self._young[key] = decision
        return decision


def _key(
    policies: PolicySet, request: AccessRequest, bucket_policy: Policy | None, generation: int
) -> tuple[object, ...] | None:
    principal, action, resource, given = request
    lowered = action.lower()
    values: tuple[object, ...] = ()
    asked: PolicySet | None = policies
    who = principal
    while asked is not None:
        keys = asked.keys_read(lowered, bucket_policy)
        if keys is None:
            return None
        if keys:
            context = full_context(who, given)
            values += tuple(map(context.get, keys))
        parent = asked.parent_principal
        asked = asked.parent
        if parent is not None:
            who = parent
    return (
        generation,
        policies,
        bucket_policy,
        principal.kind,
        principal.arn,
        principal.account_id,
        lowered,
        resource,
        *values,
    )
