"""Identities of a vault, as a small handle over the verbs; each verb is a function in the module of its noun.

Invariants: the handle holds no state of an identity but caches checked against the documents, and times of use not yet
written; it may be used from any thread, and any number of handles of any processes may work on the same documents.
"""

from __future__ import annotations

from collections.abc import Mapping

from tickvault.seam.clock import Clock
from tickvault.security.credentials import Credentials
from tickvault.security.documents import Documents
from tickvault.security.identity import (
    attachments,
    groups,
    keys,
    policies,
    roles,
    sealing,
    service_accounts,
    sessions,
    upkeep,
    users,
)
from tickvault.security.identity.credential import Credential
from tickvault.security.identity.last_used import Uses
from tickvault.security.identity.limits import Limits
from tickvault.security.identity.lookup import Lookup
from tickvault.security.identity.registry import PolicyCompiler, Registry
from tickvault.security.identity.sealer import Sealer


class Identities(Registry):
    """Users, groups, policies, roles, service accounts, their keys and sessions.

    Parameters
    ----------
    documents : Documents
        Where they are kept.
    sealer : Sealer
        Seals secrets; `VaultSealer` is the one of a vault on disk.
    compile_policy : callable
        Takes a policy text and its kind (``identity``, ``session``, ``trust``) and raises `InvalidInputError` for a
        bad one.
    vault_id : str
        Tokens and secrets of a vault of another id are not accepted.
    root : Credentials, optional
        The root key pair, found as kind ``root``; cannot be deleted, disabled or narrowed.
    limits : Limits, optional
    clock : Clock, optional
    built_in_policies : mapping of str to str, optional
        Text by name of managed policies that come with the software.
    """

    def __init__(
        self,
        documents: Documents,
        sealer: Sealer,
        compile_policy: PolicyCompiler,
        *,
        vault_id: str,
        root: Credentials | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        built_in_policies: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            documents,
            sealer,
            compile_policy,
            vault_id=vault_id,
            root=root,
            limits=limits,
            clock=clock,
            built_in_policies=built_in_policies,
        )
        self._uses = Uses(self)
        self._lookup = Lookup(self, self._uses)

    # -- for doors

    def find(self, access_key_id: str, session_token: str | None = None) -> Credential:
        """Return the secret, the principal and the policies of an access key.

        Parameters
        ----------
        session_token : str, optional
            Of a temporary credential: what came as ``X-Amz-Security-Token``.

        Raises
        ------
        CredentialRefusedError
            It is unknown, disabled, expired, revoked, or the token is not its own: `refusal` tells which, `s3_code`
            what to answer. Also when its secret cannot be unsealed.
        """
        return self._lookup.find(access_key_id, session_token)

    def write_last_used(self, *, force: bool = False) -> int:
        """Write down when keys were last used, if an hour has passed since; return how many keys it were.

        Whoever holds the handle calls it now and then, and with `force` before closing.
        """
        return self._uses.write(force=force)

    # -- for administrators

    create_user = users.create_user
    get_user = users.get_user
    list_users = users.list_users
    set_user_disabled = users.set_user_disabled
    tag_user = users.tag_user
    untag_user = users.untag_user
    add_user_to_group = users.add_user_to_group
    remove_user_from_group = users.remove_user_from_group
    delete_user = users.delete_user

    create_group = groups.create_group
    get_group = groups.get_group
    list_groups = groups.list_groups
    group_members = groups.group_members
    delete_group = groups.delete_group

    create_policy = policies.create_policy
    get_policy = policies.get_policy
    list_policies = policies.list_policies
    update_policy = policies.update_policy
    policy_holders = policies.policy_holders
    delete_policy = policies.delete_policy

    attach_policy = attachments.attach_policy
    detach_policy = attachments.detach_policy
    put_inline_policy = attachments.put_inline_policy
    delete_inline_policy = attachments.delete_inline_policy
    set_boundary = attachments.set_boundary

    create_role = roles.create_role
    get_role = roles.get_role
    list_roles = roles.list_roles
    update_role = roles.update_role
    delete_role = roles.delete_role

    create_service_account = service_accounts.create_service_account
    get_service_account = service_accounts.get_service_account
    list_service_accounts = service_accounts.list_service_accounts
    update_service_account = service_accounts.update_service_account
    drop_service_account_policy = service_accounts.drop_service_account_policy
    set_service_account_disabled = service_accounts.set_service_account_disabled
    delete_service_account = service_accounts.delete_service_account

    create_access_key = keys.create_access_key
    get_access_key = keys.get_access_key
    list_access_keys = keys.list_access_keys
    rotate_access_key = keys.rotate_access_key
    set_access_key_disabled = keys.set_access_key_disabled
    delete_access_key = keys.delete_access_key
    unreadable_access_keys = sealing.unreadable_access_keys
    reset_sealing_key = sealing.reset_sealing_key

    assume_role = sessions.assume_role
    get_session_token = sessions.get_session_token
    revoke_sessions = sessions.revoke_sessions

    tidy = upkeep.tidy
