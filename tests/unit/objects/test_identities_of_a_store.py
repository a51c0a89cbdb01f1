"""The identities of a store, and their policies compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.errors import NotFoundError
from tickvault.objects.identities import open_identities, rights_by_arn, rights_of
from tickvault.security.credentials import load_or_create
from tickvault.security.identity import Credential, CredentialRefusedError, NamedPolicy, PolicyTexts
from tickvault.security.policy import AccessRequest, role_policy

ACCOUNT = "arn:aws:iam::000000000000"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[tv.Vault]:
    with tv.open(tmp_path / "data") as vault:
        yield vault


def may(credential: Credential, action: str, resource: str = "arn:aws:s3:::b/k") -> bool:
    rights = rights_of(credential)
    return rights.policies.decide(AccessRequest(rights.principal, action, resource, {})).allowed


def test_a_vault_without_identities_gets_no_sealing_key(vault: tv.Vault) -> None:
    assert vault.identities.list_users() == []
    vault.identities.create_user("alice")
    folder = Path(vault.path) / "security"
    assert not folder.exists()
    vault.identities.create_access_key("alice")
    assert (folder / "sealing.key").stat().st_mode & 0o777 == 0o600


def test_identities_are_there_after_the_vault_was_closed(tmp_path: Path) -> None:
    with tv.open(tmp_path / "data") as vault:
        vault.identities.create_user("alice")
        vault.identities.attach_policy("reader", user="alice")
        key = vault.identities.create_access_key("alice")
    with tv.open(tmp_path / "data") as vault:
        found = vault.identities.find(key.id)
        assert found.secret.reveal() == key.secret.reveal()
        assert may(found, "s3:GetObject") and not may(found, "s3:PutObject")
    tv.rebuild_index(tmp_path / "data")
    with tv.open(tmp_path / "data") as vault:
        assert vault.identities.find(key.id).secret.reveal() == key.secret.reveal()


def test_the_root_is_one_of_them(vault: tv.Vault) -> None:
    pair = load_or_create(vault.path)
    found = open_identities(vault.store, root=pair).find(pair.access_key)
    assert rights_of(found).is_root and found.identity_arn == f"{ACCOUNT}:root"
    assert may(found, "s3:DeleteBucket", "arn:aws:s3:::b")


def test_a_vault_has_every_policy_that_it_is_told_of_by_its_limits(vault: tv.Vault) -> None:
    """A user of ten groups, each with as many policies as may be: more than a set of policies once took."""
    identities = vault.identities
    identities.create_user("alice")
    for number in range(20):
        identities.put_inline_policy(f"p{number}", role_policy("reader").to_json(), user="alice")
    for group in range(10):
        identities.create_group(f"g{group}")
        for number in range(20):
            identities.put_inline_policy(f"p{number}", role_policy("auditor").to_json(), group=f"g{group}")
        identities.add_user_to_group("alice", f"g{group}")
    found = identities.find(identities.create_access_key("alice").id)
    assert len(found.policies.identity) == 220
    assert may(found, "s3:GetObject")


def test_a_policy_that_cannot_be_read_gives_nothing(vault: tv.Vault) -> None:
    identities = vault.identities
    identities.create_user("alice")
    identities.attach_policy("administrator", user="alice")
    found = identities.find(identities.create_access_key("alice").id)
    texts = PolicyTexts(
        (*found.policies.identity, NamedPolicy("user/alice/new", '{"Statement": "of another release"}'))
    )
    with pytest.raises(CredentialRefusedError) as caught:
        rights_of(replace(found, policies=texts))
    assert caught.value.s3_code == "AccessDenied"


def test_equal_policies_are_compiled_once(vault: tv.Vault) -> None:
    identities = vault.identities
    made = []
    for name in ("alice", "bob"):
        identities.create_user(name)
        identities.attach_policy("reader", user=name)
        made.append(rights_of(identities.find(identities.create_access_key(name).id)))
    assert made[0].policies is made[1].policies
    assert made[0].principal.arn != made[1].principal.arn


@pytest.mark.parametrize(
    ("arn", "reads"),
    [
        (f"{ACCOUNT}:user/alice", True),
        (f"{ACCOUNT}:role/loader", False),
        ("arn:aws:sts::000000000000:assumed-role/loader/night", False),
        (f"{ACCOUNT}:service-account/nightly", True),
        (f"{ACCOUNT}:root", True),
        ("anonymous", False),
    ],
)
def test_rights_by_name(vault: tv.Vault, arn: str, reads: bool) -> None:
    identities = vault.identities
    identities.create_user("alice")
    identities.attach_policy("reader", user="alice")
    identities.create_service_account("nightly", parent="alice")
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}'
    )
    identities.create_role("loader", trust)
    rights = rights_by_arn(identities, arn)
    asked = AccessRequest(rights.principal, "s3:GetObject", "arn:aws:s3:::b/k", {})
    assert rights.policies.decide(asked).allowed == reads
    # A role is asked about as a session of it.
    assert rights.principal.arn == {
        "anonymous": "",
        f"{ACCOUNT}:role/loader": "arn:aws:sts::000000000000:assumed-role/loader/simulated",
    }.get(arn, arn)


@pytest.mark.parametrize(
    "arn",
    ["", "alice", f"{ACCOUNT}:user/", f"{ACCOUNT}:user/Alice", "arn:aws:iam::123456789012:user/alice",
     f"{ACCOUNT}:group/alice", f"{ACCOUNT}:user/alice/x", "arn:aws:sts::000000000000:assumed-role/none/x"],
)  # fmt: skip
def test_names_of_nobody(vault: tv.Vault, arn: str) -> None:
    vault.identities.create_user("alice")
    with pytest.raises(NotFoundError):
        rights_by_arn(vault.identities, arn)
