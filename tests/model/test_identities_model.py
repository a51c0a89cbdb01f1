"""Identities against plain dictionaries: whatever is administered, each key may what the dictionaries say.

The machine makes, changes and deletes users, groups, policies, roles, service accounts, keys and sessions through two
handles on the same documents, as two processes would, in any order and with names that are missing or taken, and lets
time pass. After each step every key and session ever made is looked up through both handles.
``TICKVAULT_MODEL_EXAMPLES`` sets how many runs are made.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tickvault.errors import AlreadyExistsError, ConflictError, NotFoundError, TickVaultError
from tickvault.security.documents import Document
from tickvault.security.identity import (
    CredentialRefusedError,
    FileSealer,
    Identities,
    Limits,
    NewAccessKey,
    Refusal,
    Session,
)

EXAMPLES = int(os.environ.get("TICKVAULT_MODEL_EXAMPLES", "60"))
S = 1_000_000_000
LIMITS = Limits(groups_per_user_max=2, policies_per_entity_max=3, active_keys_max=2, stored_keys_max=4)

users = st.sampled_from(["ann", "bob", "Ann"])
groups = st.sampled_from(["g1", "g2", "g3"])
policies = st.sampled_from(["p1", "p2", "p3", "built-in"])
roles = st.sampled_from(["r1", "r2"])
accounts = st.sampled_from(["s1", "s2"])
texts = st.sampled_from(["t1", "t2", "t3"])
which = st.integers(0, 1)


class Kept:
    """`Documents`, the simplest that follow the protocol."""

    def __init__(self) -> None:
        self.kept: dict[str, Document] = {}
        self.number = 0

    def get(self, name: str) -> Document | None:
        return copy.deepcopy(self.kept.get(name))

    def list(self, prefix: str) -> list[Document]:
        return [copy.deepcopy(self.kept[name]) for name in sorted(self.kept) if name.startswith(prefix)]

    def put(self, name: str, data: Mapping[str, Any], *, expect: int | None = None) -> int:
        self.expected(name, expect)
        self.number += 1
        self.kept[name] = Document(name, self.number, copy.deepcopy(dict(data)))
        return self.number

    def remove(self, name: str, *, expect: int | None = None) -> bool:
        if name not in self.kept:
            return False
        self.expected(name, expect)
        self.number += 1
        del self.kept[name]
        return True

    def expected(self, name: str, expect: int | None) -> None:
        if expect is not None and expect != (self.kept[name].revision if name in self.kept else 0):
            raise ConflictError(name)

    def revision(self) -> int:
        return self.number


class Clock:
    def __init__(self) -> None:
        self.time_ns = 1_800_000_000 * S

    def now_ns(self) -> int:
        return self.time_ns

    monotonic_ns = now_ns


@dataclass
class Holds:
    """A user, group or role of the model. Identity of the object is what an id is to a document."""

    policies: set[str] = field(default_factory=set)
    inline: dict[str, str] = field(default_factory=dict)
    boundary: str | None = None
    groups: set[str] = field(default_factory=set)
    disabled: bool = False
    revoked_ns: int = 0


@dataclass
class Account:
    parent: Holds
    parent_name: str
    policy: str | None
    disabled: bool = False
    revoked_ns: int = 0


@dataclass
class Key:
    new: NewAccessKey
    owner: Holds | Account
    expires_ns: int | None
    disabled: bool = False
    deleted: bool = False

    def active(self, now_ns: int) -> bool:
        return not self.deleted and not self.disabled and (self.expires_ns is None or now_ns < self.expires_ns)


@dataclass
class Temporary:
    session: Session
    anchors: list[tuple[Holds | Account, int]]
    policy: str | None


class IdentitiesMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        kept = Kept()
        self.handles = [
            Identities(
                kept, FileSealer(b"k" * 32), lambda text, kind: (), vault_id="v", limits=LIMITS, clock=self.clock,
                built_in_policies={"built-in": "b"},
            )
            for _ in range(2)
        ]  # fmt: skip
        self.kept = kept
        self.users: dict[str, Holds] = {}
        self.groups: dict[str, Holds] = {}
        self.roles: dict[str, Holds] = {}
        self.policies: dict[str, str] = {"built-in": "b"}
        self.accounts: dict[str, Account] = {}
        self.keys: list[Key] = []
        self.sessions: list[Temporary] = []

    def expects(self, wanted: type[TickVaultError] | None, call: Any) -> Any:
        """Make a call that must end so, and no other way."""
        try:
            result = call()
        except (AlreadyExistsError, ConflictError, NotFoundError) as error:
            assert wanted is not None, error
            assert isinstance(error, wanted), error
            return None
        assert wanted is None, wanted
        return result

    # -- users and groups

    @rule(name=users, side=which)
    def create_user(self, name: str, side: int) -> None:
        taken = name.lower() in {each.lower() for each in self.users}
        self.expects(AlreadyExistsError if taken else None, lambda: self.handles[side].create_user(name))
        if not taken:
            self.users[name] = Holds()

    @rule(name=users, side=which, force=st.booleans())
    def delete_user(self, name: str, side: int, force: bool) -> None:
        user = self.users.get(name)
        wanted: type[TickVaultError] | None = NotFoundError
        if user is not None:
            busy = user.policies or user.inline or user.groups or self.keys_of(user)
            busy = busy or any(account.parent is user for account in self.accounts.values())
            wanted = ConflictError if busy and not force else None
        self.expects(wanted, lambda: self.handles[side].delete_user(name, force=force))
        if wanted is None:
            assert user is not None
            gone = [each for each, account in self.accounts.items() if account.parent is user]
            for owner in [user, *(self.accounts.pop(each) for each in gone)]:
                self.drop_keys(owner)
            del self.users[name]

    @rule(name=users, side=which, disabled=st.booleans())
    def set_user_disabled(self, name: str, side: int, disabled: bool) -> None:
        user = self.users.get(name)
        self.expects(None if user else NotFoundError, lambda: self.handles[side].set_user_disabled(name, disabled))
        if user:
            user.disabled = disabled

    @rule(name=groups, side=which)
    def create_group(self, name: str, side: int) -> None:
        wanted = AlreadyExistsError if name in self.groups else None
        self.expects(wanted, lambda: self.handles[side].create_group(name))
        self.groups.setdefault(name, Holds())

    @rule(name=groups, side=which)
    def delete_group(self, name: str, side: int) -> None:
        held = any(name in user.groups for user in self.users.values())
        wanted = NotFoundError if name not in self.groups else ConflictError if held else None
        self.expects(wanted, lambda: self.handles[side].delete_group(name))
        if wanted is None:
            del self.groups[name]

    @rule(user=users, group=groups, side=which)
    def join(self, user: str, group: str, side: int) -> None:
        wanted: type[TickVaultError] | None = NotFoundError
        if user in self.users and group in self.groups:
            full = len(self.users[user].groups) >= 2 and group not in self.users[user].groups
            wanted = ConflictError if full else None
        self.expects(wanted, lambda: self.handles[side].add_user_to_group(user, group))
        if wanted is None:
            self.users[user].groups.add(group)

    @rule(user=users, group=groups, side=which)
    def leave(self, user: str, group: str, side: int) -> None:
        wanted = None if user in self.users else NotFoundError
        self.expects(wanted, lambda: self.handles[side].remove_user_from_group(user, group))
        if wanted is None:
            self.users[user].groups.discard(group)

    # -- policies

    @rule(name=policies, text=texts, side=which)
    def create_policy(self, name: str, text: str, side: int) -> None:
        wanted = AlreadyExistsError if name in self.policies else None
        self.expects(wanted, lambda: self.handles[side].create_policy(name, text))
        self.policies.setdefault(name, text)

    @precondition(lambda self: len(self.policies) > 1)
    @rule(data=st.data(), text=texts, side=which)
    def update_policy(self, data: st.DataObject, text: str, side: int) -> None:
        name = data.draw(st.sampled_from(sorted(set(self.policies) - {"built-in"})))
        self.handles[side].update_policy(name, text)
        self.policies[name] = text

    @rule(name=st.sampled_from(["p1", "p2", "p3"]), side=which)
    def delete_policy(self, name: str, side: int) -> None:
        holders = [*self.users.values(), *self.groups.values(), *self.roles.values()]
        held = any(name in each.policies or each.boundary == name for each in holders)
        wanted = NotFoundError if name not in self.policies else ConflictError if held else None
        self.expects(wanted, lambda: self.handles[side].delete_policy(name))
        if wanted is None:
            del self.policies[name]

    def holder(self, kind: str, name: str) -> Holds | None:
        return {"user": self.users, "group": self.groups, "role": self.roles}[kind].get(name)

    holders = st.one_of(
        st.tuples(st.just("user"), users), st.tuples(st.just("group"), groups), st.tuples(st.just("role"), roles)
    )

    @rule(to=holders, policy=policies, side=which)
    def attach(self, to: tuple[str, str], policy: str, side: int) -> None:
        holder = self.holder(*to)
        wanted: type[TickVaultError] | None = NotFoundError
        if holder is not None and policy in self.policies:
            full = policy not in holder.policies and len(holder.policies) + len(holder.inline) >= 3
            wanted = ConflictError if full else None
        self.expects(wanted, lambda: self.handles[side].attach_policy(policy, **{to[0]: to[1]}))
        if wanted is None:
            assert holder is not None
            holder.policies.add(policy)

    @rule(to=holders, policy=policies, side=which)
    def detach(self, to: tuple[str, str], policy: str, side: int) -> None:
        holder = self.holder(*to)
        wanted = NotFoundError if holder is None else None
        self.expects(wanted, lambda: self.handles[side].detach_policy(policy, **{to[0]: to[1]}))
        if holder is not None:
            holder.policies.discard(policy)

    @rule(to=holders, name=st.sampled_from(["i1", "i2"]), text=texts, side=which)
    def put_inline(self, to: tuple[str, str], name: str, text: str, side: int) -> None:
        holder = self.holder(*to)
        wanted: type[TickVaultError] | None = NotFoundError
        if holder is not None:
            full = name not in holder.inline and len(holder.policies) + len(holder.inline) >= 3
            wanted = ConflictError if full else None
        self.expects(wanted, lambda: self.handles[side].put_inline_policy(name, text, **{to[0]: to[1]}))
        if wanted is None:
            assert holder is not None
            holder.inline[name] = text

    @rule(user=users, policy=st.one_of(st.none(), policies), side=which)
    def bound(self, user: str, policy: str | None, side: int) -> None:
        missing = user not in self.users or (policy is not None and policy not in self.policies)
        self.expects(NotFoundError if missing else None, lambda: self.handles[side].set_boundary(policy, user=user))
        if not missing:
            self.users[user].boundary = policy

    # -- roles and service accounts

    @rule(name=roles, side=which)
    def create_role(self, name: str, side: int) -> None:
        wanted = AlreadyExistsError if name in self.roles else None
        self.expects(wanted, lambda: self.handles[side].create_role(name, "trust"))
        self.roles.setdefault(name, Holds())

    @rule(name=roles, side=which)
    def delete_role(self, name: str, side: int) -> None:
        wanted = None if name in self.roles else NotFoundError
        self.expects(wanted, lambda: self.handles[side].delete_role(name, force=True))
        self.roles.pop(name, None)

    @rule(name=accounts, parent=users, policy=st.one_of(st.none(), texts), side=which)
    def create_account(self, name: str, parent: str, policy: str | None, side: int) -> None:
        wanted: type[TickVaultError] | None = None
        if parent not in self.users:
            wanted = NotFoundError
        elif name in self.accounts:
            wanted = AlreadyExistsError
        self.expects(wanted, lambda: self.handles[side].create_service_account(name, parent=parent, policy=policy))
        if wanted is None:
            self.accounts[name] = Account(self.users[parent], parent, policy)

    @rule(name=accounts, side=which)
    def delete_account(self, name: str, side: int) -> None:
        wanted = None if name in self.accounts else NotFoundError
        self.expects(wanted, lambda: self.handles[side].delete_service_account(name))
        if wanted is None:
            self.drop_keys(self.accounts.pop(name))

    @rule(name=accounts, side=which, disabled=st.booleans())
    def set_account_disabled(self, name: str, side: int, disabled: bool) -> None:
        wanted = None if name in self.accounts else NotFoundError
        self.expects(wanted, lambda: self.handles[side].set_service_account_disabled(name, disabled))
        if wanted is None:
            self.accounts[name].disabled = disabled

    # -- keys

    def keys_of(self, owner: Holds | Account) -> list[Key]:
        return [key for key in self.keys if key.owner is owner and not key.deleted]

    def drop_keys(self, owner: Holds | Account) -> None:
        for key in self.keys_of(owner):
            key.deleted = True

    def full(self, owner: Holds | Account, more: int = 1) -> bool:
        keys = self.keys_of(owner)
        return len(keys) >= 4 or sum(key.active(self.clock.time_ns) for key in keys) + more > 2

    @rule(user=st.one_of(st.none(), users), account=accounts, lives_s=st.sampled_from([None, 50, 5000]), side=which)
    def create_key(self, user: str | None, account: str, lives_s: int | None, side: int) -> None:
        owner: Holds | Account | None = self.accounts.get(account) if user is None else self.users.get(user)
        end = None if lives_s is None else self.clock.time_ns + lives_s * S
        wanted = NotFoundError if owner is None else ConflictError if self.full(owner) else None
        named = {"service_account": account} if user is None else {"user": user}
        new = self.expects(wanted, lambda: self.handles[side].create_access_key(**named, expires_ns=end))
        if new is not None:
            assert owner is not None
            self.keys.append(Key(new, owner, end))

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), disabled=st.booleans(), side=which)
    def set_key_disabled(self, data: st.DataObject, disabled: bool, side: int) -> None:
        key = data.draw(st.sampled_from(self.keys))
        wanted: type[TickVaultError] | None = None
        if key.deleted:
            wanted = NotFoundError
        elif not disabled:
            others = sum(each.active(self.clock.time_ns) for each in self.keys_of(key.owner) if each is not key)
            alive = key.expires_ns is None or self.clock.time_ns < key.expires_ns
            wanted = ConflictError if others + alive > 2 else None
        self.expects(wanted, lambda: self.handles[side].set_access_key_disabled(key.new.id, disabled))
        if wanted is None:
            key.disabled = disabled

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), side=which)
    def delete_key(self, data: st.DataObject, side: int) -> None:
        key = data.draw(st.sampled_from(self.keys))
        self.expects(NotFoundError if key.deleted else None, lambda: self.handles[side].delete_access_key(key.new.id))
        key.deleted = True

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), grace_s=st.sampled_from([0, 60]), side=which)
    def rotate_key(self, data: st.DataObject, grace_s: int, side: int) -> None:
        key = data.draw(st.sampled_from(self.keys))
        wanted: type[TickVaultError] | None = None
        if key.deleted:
            wanted = NotFoundError
        elif not key.active(self.clock.time_ns) or self.full(key.owner, more=1 if grace_s else 0):
            wanted = ConflictError
        new = self.expects(wanted, lambda: self.handles[side].rotate_access_key(key.new.id, grace_s=grace_s))
        if new is not None:
            end = self.clock.time_ns + grace_s * S
            key.expires_ns = end if key.expires_ns is None else min(key.expires_ns, end)
            self.keys.append(Key(new, key.owner, None))

    # -- sessions

    @precondition(lambda self: self.keys and self.roles)
    @rule(data=st.data(), policy=st.one_of(st.none(), texts), side=which)
    def assume(self, data: st.DataObject, policy: str | None, side: int) -> None:
        key = data.draw(st.sampled_from(self.keys))
        if self.refused(key) is not None:
            return
        name = data.draw(st.sampled_from(sorted(self.roles)))
        caller = self.handles[side].find(key.new.id)
        session = self.handles[side].assume_role(
            caller, name, "run", decide=lambda request: True, duration_s=900, session_policy=policy
        )
        began = [key.owner, *([key.owner.parent] if isinstance(key.owner, Account) else [])]
        now_ns = self.clock.time_ns
        self.sessions.append(
            Temporary(session, [(self.roles[name], now_ns), *((each, now_ns) for each in began)], policy)
        )

    @rule(name=roles, side=which)
    def revoke_role(self, name: str, side: int) -> None:
        wanted = None if name in self.roles else NotFoundError
        self.expects(wanted, lambda: self.handles[side].revoke_sessions(role=name))
        if wanted is None:
            self.roles[name].revoked_ns = self.clock.time_ns

    @rule(name=users, side=which)
    def revoke_user(self, name: str, side: int) -> None:
        wanted = None if name in self.users else NotFoundError
        self.expects(wanted, lambda: self.handles[side].revoke_sessions(user=name))
        if wanted is None:
            self.users[name].revoked_ns = self.clock.time_ns

    @rule(seconds=st.sampled_from([1, 49, 60, 900, 5000]))
    def pass_time(self, seconds: int) -> None:
        self.clock.time_ns += seconds * S

    @rule(side=which)
    def upkeep(self, side: int) -> None:
        self.handles[side].write_last_used(force=True)
        self.handles[side].tidy()

    # -- what must hold

    def refused(self, key: Key) -> Refusal | None:
        owner = key.owner
        user = owner.parent if isinstance(owner, Account) else owner
        if key.deleted:
            return Refusal.UNKNOWN
        if key.disabled or owner.disabled or user.disabled:
            return Refusal.DISABLED
        return None if key.active(self.clock.time_ns) else Refusal.EXPIRED

    def allowed(self, holder: Holds) -> set[str]:
        texts = {self.policies[name] for name in holder.policies} | set(holder.inline.values())
        for name in holder.groups:
            group = self.groups[name]
            texts |= {self.policies[each] for each in group.policies} | set(group.inline.values())
        return texts

    @invariant()
    def every_key_is_as_the_model_says(self) -> None:
        for key in self.keys:
            wanted = self.refused(key)
            user = key.owner.parent if isinstance(key.owner, Account) else key.owner
            for handle in self.handles:
                try:
                    found = handle.find(key.new.id)
                except CredentialRefusedError as error:
                    assert error.refusal is wanted
                    continue
                assert wanted is None
                assert found.secret == key.new.secret
                assert found.expires_ns == key.expires_ns
                assert self.users[found.principal.user_name] is user
                assert set(found.principal.groups) == user.groups
                assert {text for _, text in found.policies.identity} == self.allowed(user)
                boundary = found.policies.boundary
                assert (boundary and boundary.text) == (user.boundary and self.policies[user.boundary])
                own = key.owner.policy if isinstance(key.owner, Account) else None
                assert [text for _, text in found.policies.session] == ([] if own is None else [own])

    @invariant()
    def every_session_is_as_the_model_says(self) -> None:
        for each in self.sessions:
            alive = {id(holder) for kept in (self.users, self.roles, self.accounts) for holder in kept.values()}
            held = all(
                id(anchor) in alive and not anchor.disabled and issued_ns >= anchor.revoked_ns
                for anchor, issued_ns in each.anchors
            )
            wanted = None if held else Refusal.REVOKED
            if self.clock.time_ns >= each.session.expires_ns:
                wanted = Refusal.EXPIRED
            for handle in self.handles:
                try:
                    found = handle.find(each.session.access_key_id, each.session.session_token.reveal())
                except CredentialRefusedError as error:
                    # Of one that ended both ways, either may be told.
                    assert error.refusal is wanted or (not held and error.refusal is Refusal.REVOKED)
                    continue
                assert wanted is None
                role = each.anchors[0][0]
                assert isinstance(role, Holds)
                assert {text for _, text in found.policies.identity} == self.allowed(role)
                assert [text for _, text in found.policies.session] == ([] if each.policy is None else [each.policy])

    @invariant()
    def nothing_is_left_behind(self) -> None:
        pointers = {name.rpartition("/")[2] for name in self.kept.kept if name.startswith("iam/key/")}
        assert pointers == {key.new.id for key in self.keys if not key.deleted}
        assert {user.name for user in self.handles[0].list_users()} == set(self.users)


def test_identities_answer_as_dictionaries_would() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        IdentitiesMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
