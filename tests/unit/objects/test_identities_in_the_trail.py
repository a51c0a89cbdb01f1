"""What the audit trail tells of identities: which action it was, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.audit.record import AuditRecord, Category

ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}'
DENY = ALLOW.replace("Allow", "Deny")
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"AWS": "arn:aws:iam::000000000000:user/ann"}}]}'
)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[tv.Vault]:
    with tv.open(tmp_path / "data") as vault:
        yield vault


def changes(vault: tv.Vault, *, since: int = 0) -> list[AuditRecord]:
    return [record for record in vault.audit.query() if record.category is Category.CHANGE and record.sequence > since]


def told(record: AuditRecord) -> tuple[str, str, dict[str, str]]:
    detail = {name: text for name, text in record.detail.items() if name != "proof"}
    return record.action, record.key.removeprefix("iam/"), detail


ANN, QUANTS, LOADER, MINE, NIGHTLY = "user/ann", "group/quants", "role/loader", "policy/mine", "service-account/nightly"
STEPS: list[tuple[Callable[[Any], Any], str, str, dict[str, str]]] = [
    (lambda of: of.create_user("ann", tags={"desk": "rates"}), "CreateUser", ANN, {"tags": "desk=rates"}),
    (lambda of: of.tag_user("ann", {"desk": "fx"}), "TagUser", ANN, {"tags": "desk=fx"}),
    (lambda of: of.untag_user("ann", ["desk"]), "UntagUser", ANN, {"tags": "desk"}),
    (lambda of: of.create_group("quants"), "CreateGroup", QUANTS, {}),
    (lambda of: of.create_policy("mine", ALLOW), "CreatePolicy", MINE, {}),
    (lambda of: of.update_policy("mine", DENY), "CreatePolicyVersion", MINE, {}),
    (lambda of: of.create_role("loader", TRUST), "CreateRole", LOADER, {}),
    (lambda of: of.create_service_account("nightly", parent="ann"), "CreateServiceAccount", NIGHTLY, {"parent": "ann"}),
    (
        lambda of: of.attach_policy("administrator", user="ann"), "AttachUserPolicy", ANN, {"policy": "administrator"},
    ),
    (lambda of: of.detach_policy("administrator", user="ann"), "DetachUserPolicy", ANN, {"policy": "administrator"}),
    (lambda of: of.attach_policy("mine", group="quants"), "AttachGroupPolicy", QUANTS, {"policy": "mine"}),
    (lambda of: of.attach_policy("reader", role="loader"), "AttachRolePolicy", LOADER, {"policy": "reader"}),
    (lambda of: of.put_inline_policy("own", ALLOW, user="ann"), "PutUserPolicy", ANN, {"policy": "own"}),
    (lambda of: of.put_inline_policy("own", DENY, user="ann"), "PutUserPolicy", ANN, {"policy": "own"}),
    (
        lambda of: of.delete_inline_policy("own", user="ann"),
        "UpdateUser", ANN, {"change": "DeleteUserPolicy", "policy": "own"},
    ),
    (lambda of: of.set_boundary("reader", user="ann"), "PutUserPermissionsBoundary", ANN, {"policy": "reader"}),
    (
        lambda of: of.set_boundary(None, user="ann"),
        "UpdateUser", ANN, {"change": "DeleteUserPermissionsBoundary", "policy": "reader"},
    ),
    (lambda of: of.add_user_to_group("ann", "quants"), "AddUserToGroup", ANN, {"group": "quants"}),
    (lambda of: of.remove_user_from_group("ann", "quants"), "RemoveUserFromGroup", ANN, {"group": "quants"}),
    (lambda of: of.set_user_disabled("ann", True), "UpdateUser", ANN, {"disabled": "true"}),
    (lambda of: of.set_user_disabled("ann", False), "UpdateUser", ANN, {"disabled": "false"}),
    (
        lambda of: of.revoke_sessions(user="ann", issued_before_ns=7), "RevokeSessions", ANN, {"issued_before_ns": "7"},
    ),
    (
        lambda of: of.revoke_sessions(role="loader", issued_before_ns=8),
        "RevokeSessions", LOADER, {"issued_before_ns": "8"},
    ),
    (
        lambda of: of.update_role("loader", description="d", duration_s_max=7200),
        "UpdateRole", LOADER, {"changed": "description, duration_s_max"},
    ),
    (
        lambda of: of.update_service_account("nightly", policy=ALLOW),
        "UpdateServiceAccount", NIGHTLY, {"changed": "policy"},
    ),
    (
        lambda of: of.set_service_account_disabled("nightly", True),
        "UpdateServiceAccount", NIGHTLY, {"disabled": "true"},
    ),
    (lambda of: of.delete_service_account("nightly"), "DeleteServiceAccount", NIGHTLY, {}),
    (lambda of: of.delete_role("loader", force=True), "DeleteRole", LOADER, {}),
    (lambda of: of.delete_user("ann"), "DeleteUser", ANN, {}),
]  # fmt: skip


def test_each_change_is_told_by_its_action(vault: tv.Vault) -> None:
    # To attach, to disable and to revoke once were all "PutUser", and nobody could tell which it was.
    last = 0
    for step, action, key, detail in STEPS:
        step(vault.identities)
        (record,) = changes(vault, since=last)
        assert told(record) == (action, key, detail)
        last = record.sequence
    assert not any(name in repr(changes(vault)) for name in ("s3:GetObject", "sts:AssumeRole"))
    assert vault.reconcile(everything=True).ok


def test_access_keys_are_told_by_id_and_never_by_secret(vault: tv.Vault) -> None:
    identities = vault.identities
    identities.create_user("ann")
    first = identities.create_access_key("ann", description="laptop")
    second = identities.rotate_access_key(first.id, grace_s=60)
    identities.set_access_key_disabled(first.id, True)
    identities.delete_access_key(first.id)
    of_ann = [told(record) for record in changes(vault) if record.key == "iam/user/ann"]
    assert of_ann[1:] == [
        ("CreateAccessKey", "user/ann", {"access_key": first.id}),
        ("CreateAccessKey", "user/ann", {"access_key": second.id, "in_place_of": first.id}),
        ("UpdateAccessKey", "user/ann", {"access_key": first.id, "disabled": "true"}),
        ("UpdateUser", "user/ann", {"change": "DeleteAccessKey", "access_key": first.id}),
    ]
    for secret in (first.secret.reveal(), second.secret.reveal(), "laptop"):
        assert secret not in repr(changes(vault))
    # Whoever goes by the trail knows that the user is still there.
    assert vault.reconcile(everything=True).ok


def test_a_group_that_is_held_is_told_to_stay(vault: tv.Vault) -> None:
    identities = vault.identities
    identities.create_user("ann")
    identities.create_group("quants")
    identities.add_user_to_group("ann", "quants")
    with pytest.raises(tv.ConflictError):
        identities.delete_group("quants")
    of_group = [told(record) for record in changes(vault) if record.key == "iam/group/quants"]
    assert of_group[1:] == [
        ("UpdateGroup", "group/quants", {"closing": "true"}),
        ("UpdateGroup", "group/quants", {"closing": "false"}),
    ]
    assert vault.reconcile(everything=True).ok
