"""Which statements can be about an action in a bucket, found without asking them all.

Invariants: a statement that could match is always among those returned; nothing grows with the requests that are
made, as only actions of the catalogue are remembered and buckets come from the policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tickvault.security.policy.actions import ACTIONS
from tickvault.security.policy.keys import TIMED_KEYS
from tickvault.security.policy.statement import Statement


class Entry(NamedTuple):
    """A statement and the name of its policy."""

    needle: str
    """What every resource that it is about contains: most statements are passed over by this alone."""
    statement: Statement
    policy: str


class Group(NamedTuple):
    """Statements of one reach, those that deny apart."""

    denies: tuple[Entry, ...]
    allows: tuple[Entry, ...]


class ForAction(NamedTuple):
    """The statements about one action."""

    anywhere: Group
    """Those that can be about any bucket."""
    by_bucket: dict[str, Group]
    """Those that name their buckets."""
    keys: tuple[str, ...] | None
    """Every key of the request that a decision can depend on; None if one of them is a time."""

    def groups(self, bucket: str) -> tuple[Group, ...]:
        """Return the groups to ask for a resource in a bucket."""
        named = self.by_bucket.get(bucket)
        return (self.anywhere,) if named is None else (named, self.anywhere)


class StatementIndex:
    """The statements of policies by what they can be about."""

    __slots__ = ("_by_action", "entries")

    def __init__(self, policies: Iterable[tuple[str, Sequence[Statement]]]) -> None:
        self.entries = tuple(
            Entry(statement.needle, statement, name) for name, statements in policies for statement in statements
        )
        self._by_action: dict[str, ForAction] = {}

    def for_action(self, action: str) -> ForAction:
        """Return the statements about an action, whose name is in lower case."""
        found = self._by_action.get(action)
        if found is None:
            found = self._gather(action)
            # A name that is no action here would be remembered for nothing, as often as anyone invents one.
            if action in ACTIONS:
                self._by_action[action] = found
        return found

    def _gather(self, action: str) -> ForAction:
        anywhere: list[Entry] = []
        by_bucket: dict[str, list[Entry]] = {}
        keys: dict[str, None] = {}
        for entry in self.entries:
            statement = entry.statement
            if not statement.matches_action(action):
                continue
            keys.update(dict.fromkeys(statement.keys_read))
            if statement.buckets is None:
                anywhere.append(entry)
            else:
                for bucket in statement.buckets:
                    by_bucket.setdefault(bucket, []).append(entry)
        return ForAction(
            _group(anywhere),
            {bucket: _group(entries) for bucket, entries in by_bucket.items()},
            None if TIMED_KEYS & keys.keys() else tuple(keys),
        )


def _group(entries: Sequence[Entry]) -> Group:
    return Group(
        tuple(entry for entry in entries if entry.statement.effect == "Deny"),
        tuple(entry for entry in entries if entry.statement.effect == "Allow"),
    )
