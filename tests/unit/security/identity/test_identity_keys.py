from __future__ import annotations

import pytest
from identity_setting import READ, ROOT, START_NS, WRITE, SetClock
from memory_documents import MemoryDocuments

from tickvault.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from tickvault.security.identity import CredentialRefusedError, FileSealer, Identities, Limits, Refusal

S = 1_000_000_000


def refusal(identities: Identities, key_id: str, token: str | None = None) -> Refusal:
    with pytest.raises(CredentialRefusedError) as caught:
        identities.find(key_id, token)
    return caught.value.refusal


def test_a_key_is_found_with_its_secret(identities: Identities) -> None:
    user = identities.create_user("alice", tags={"desk": "rates"})
    made = identities.create_access_key("alice", description="laptop")
    assert made.id.startswith("TVAK")
    assert (len(made.id), len(made.secret.reveal())) == (20, 40)
    found = identities.find(made.id)
    assert found.secret.reveal() == made.secret.reveal()
    assert found.principal == (user.arn, "000000000000", "alice", user.id, "user", {"desk": "rates"}, ())
    assert found.expires_ns is None
    assert (found.identity_arn, found.own_principal) == (user.arn, found.principal)
    other = identities.create_access_key("alice")
    assert other.id != made.id
    assert other.secret != made.secret
    assert [key.id for key in identities.list_access_keys("alice")] == [made.id, other.id]
    assert identities.get_access_key(made.id).description == "laptop"


@pytest.mark.parametrize(
    "key_id",
    ["", "TVAK", "TVAK" + "A" * 16, "tvak" + "A" * 16, "TVST" + "A" * 16, "TVAK/../../user/alic", "A" * 10_000,
     "TVAK\x00", "TVAK" + "é" * 16, "AKIAIOSFODNN7EXAMPLE"],
)  # fmt: skip
def test_unknown_keys_are_unknown(identities: Identities, key_id: str) -> None:
    assert refusal(identities, key_id) is Refusal.UNKNOWN
    with pytest.raises(NotFoundError):
        identities.get_access_key(key_id)
    with pytest.raises(NotFoundError):
        identities.delete_access_key(key_id)


def test_two_keys_are_active_at_most(identities: Identities, clock: SetClock) -> None:
    identities.create_user("alice")
    one = identities.create_access_key("alice", expires_ns=START_NS + 10 * S)
    two = identities.create_access_key("alice")
    with pytest.raises(ConflictError, match="limit is 2"):
        identities.create_access_key("alice")
    identities.set_access_key_disabled(two.id, True)
    three = identities.create_access_key("alice")
    with pytest.raises(ConflictError, match="limit is 2"):
        identities.set_access_key_disabled(two.id, False)
    clock.move(10)
    identities.set_access_key_disabled(two.id, False)
    assert refusal(identities, one.id) is Refusal.EXPIRED
    assert identities.find(two.id)
    assert identities.find(three.id)


def test_a_refused_key_leaves_no_pointer(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    for _ in range(2):
        identities.create_access_key("alice")
    with pytest.raises(ConflictError):
        identities.create_access_key("alice")
    assert len(documents.list("iam/key/")) == 2


def test_stored_keys_are_limited(make: object) -> None:
    identities = make(limits=Limits(stored_keys_max=3))  # type: ignore[operator]
    identities.create_user("alice")
    for _ in range(3):
        identities.set_access_key_disabled(identities.create_access_key("alice").id, True)
    with pytest.raises(ConflictError, match="limit is 3"):
        identities.create_access_key("alice")


def test_a_key_ends_on_the_nanosecond(identities: Identities, clock: SetClock) -> None:
    identities.create_user("alice")
    key = identities.create_access_key("alice", expires_ns=START_NS + 5)
    clock.move(ns=4)
    assert identities.find(key.id).expires_ns == START_NS + 5
    clock.move(ns=1)
    assert refusal(identities, key.id) is Refusal.EXPIRED
    assert Refusal.EXPIRED.s3_code == "ExpiredToken"


@pytest.mark.parametrize("end", [START_NS, START_NS - 1, 0, -1, 2**63, True, 1.5, "tomorrow"])
def test_a_key_that_would_be_over_is_not_made(identities: Identities, end: int) -> None:
    identities.create_user("alice")
    with pytest.raises(InvalidInputError, match="expires_ns"):
        identities.create_access_key("alice", expires_ns=end)


def test_disabled_is_told_from_unknown(identities: Identities) -> None:
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    identities.find(key.id)
    identities.set_access_key_disabled(key.id, True)
    assert refusal(identities, key.id) is Refusal.DISABLED
    identities.set_access_key_disabled(key.id, False)
    assert identities.find(key.id)
    identities.set_user_disabled("alice", True)
    assert refusal(identities, key.id) is Refusal.DISABLED
    identities.set_user_disabled("alice", False)
    assert identities.find(key.id)
    identities.delete_access_key(key.id)
    assert refusal(identities, key.id) is Refusal.UNKNOWN
    assert Refusal.DISABLED.s3_code == Refusal.UNKNOWN.s3_code == "InvalidAccessKeyId"


def test_rotation_gives_a_new_key_and_ends_the_old_one_after_the_grace(identities: Identities, clock: SetClock) -> None:
    identities.create_user("alice")
    old = identities.create_access_key("alice", description="etl")
    new = identities.rotate_access_key(old.id, grace_s=60)
    assert new.key.description == "etl"
    assert identities.find(old.id).expires_ns == START_NS + 60 * S
    assert identities.find(new.id).expires_ns is None
    with pytest.raises(ConflictError, match="limit is 2"):
        identities.rotate_access_key(new.id, grace_s=60)
    clock.move(60)
    assert refusal(identities, old.id) is Refusal.EXPIRED
    with pytest.raises(ConflictError, match="disabled or expired"):
        identities.rotate_access_key(old.id)
    at_once = identities.rotate_access_key(new.id)
    assert refusal(identities, new.id) is Refusal.EXPIRED
    assert identities.find(at_once.id)


def test_rotation_never_prolongs(identities: Identities) -> None:
    identities.create_user("alice")
    old = identities.create_access_key("alice", expires_ns=START_NS + 10 * S)
    identities.rotate_access_key(old.id, grace_s=3600)
    assert identities.find(old.id).expires_ns == START_NS + 10 * S
    for wrong in (-1, 90 * 24 * 3600 + 1, 1.5, True):
        with pytest.raises(InvalidInputError, match="grace_s"):
            identities.rotate_access_key(old.id, grace_s=wrong)  # type: ignore[arg-type]


def test_the_root_is_found_and_left_alone(identities: Identities) -> None:
    found = identities.find(ROOT.access_key)
    assert found.principal.kind == "root"
    assert found.principal.arn == "arn:aws:iam::000000000000:root"
    assert found.secret.matches(ROOT.secret_key)
    for verb in (
        lambda: identities.delete_access_key(ROOT.access_key),
        lambda: identities.set_access_key_disabled(ROOT.access_key, True),
        lambda: identities.rotate_access_key(ROOT.access_key),
    ):
        with pytest.raises(AccessDeniedError, match="root"):
            verb()
    with pytest.raises(InvalidInputError, match="reserved"):
        identities.create_user("root")
    assert refusal(identities, ROOT.access_key, "token") is Refusal.INVALID_TOKEN
    assert identities.find(ROOT.access_key).principal.kind == "root"


def test_a_secret_moved_to_another_user_does_not_open(identities: Identities, documents: MemoryDocuments) -> None:
    """Who can write documents, and cannot unseal, gives mallory's key the secret of alice's."""
    for name in ("alice", "mallory"):
        identities.create_user(name)
    identities.create_access_key("alice")
    key = identities.create_access_key("mallory")
    of_alice, of_mallory = documents.get("iam/user/alice"), documents.get("iam/user/mallory")
    assert of_alice is not None
    assert of_mallory is not None
    moved = {**of_mallory.data["access_keys"][0], "sealed_secret": of_alice.data["access_keys"][0]["sealed_secret"]}
    documents.put(of_mallory.name, {**of_mallory.data, "access_keys": [moved]})
    assert refusal(identities, key.id) is Refusal.UNREADABLE
    assert list(identities.unreadable_access_keys("mallory")) == [key.id]


def test_a_pointer_turned_to_another_user_finds_nothing(identities: Identities, documents: MemoryDocuments) -> None:
    for name in ("alice", "mallory"):
        identities.create_user(name)
    key = identities.create_access_key("mallory")
    pointer = documents.get(f"iam/key/{key.id}")
    assert pointer is not None
    for turned in (
        {**pointer.data, "owner": "alice"},
        {**pointer.data, "owner": "alice", "owner_id": identities.get_user("alice").id},
    ):
        documents.put(pointer.name, turned)
        assert refusal(identities, key.id) is Refusal.UNKNOWN


def test_the_secrets_of_a_vault_open_with_its_own_key_and_id_only(make: object, documents: MemoryDocuments) -> None:
    identities = make()  # type: ignore[operator]
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    with pytest.raises(CredentialRefusedError, match=r"sealing\.key") as caught:
        make(key=b"o" * 32).find(key.id)  # type: ignore[operator]
    assert (caught.value.refusal, caught.value.s3_code) == (Refusal.UNREADABLE, "ServiceUnavailable")
    assert refusal(make(vault_id="two"), key.id) is Refusal.UNREADABLE  # type: ignore[operator]


def test_service_accounts_act_for_their_parent_and_never_beyond(identities: Identities) -> None:
    user = identities.create_user("alice", tags={"desk": "rates"})
    identities.attach_policy("reader", user="alice")
    identities.set_boundary("administrator", user="alice")
    account = identities.create_service_account("ci", parent="alice", policy=WRITE)
    key = identities.create_access_key(service_account="ci")
    found = identities.find(key.id)
    # By the parent's ARN and id, or a policy that denies alice by name would not stop her programs.
    assert found.principal == (user.arn, "000000000000", "alice", user.id, "service-account", user.tags, ())
    assert (found.service_account, found.identity_arn) == ("ci", account.arn)
    assert found.own_principal[:4] == (account.arn, "000000000000", "alice", account.id)
    assert dict(found.policies.identity) == {"policy/reader": READ}
    assert found.policies.boundary == ("policy/administrator", WRITE)
    assert found.policies.session == (("service-account/ci", WRITE),)
    assert found.policies.narrowed
    identities.drop_service_account_policy("ci")
    assert not identities.find(key.id).policies.narrowed
    identities.update_service_account("ci", policy=READ)
    identities.detach_policy("reader", user="alice")
    assert identities.find(key.id).policies.identity == ()


def test_service_accounts_end_with_their_parent(identities: Identities) -> None:
    identities.create_user("alice")
    identities.create_service_account("ci", parent="alice")
    key = identities.create_access_key(service_account="ci")
    identities.set_user_disabled("alice", True)
    assert refusal(identities, key.id) is Refusal.DISABLED
    identities.set_user_disabled("alice", False)
    identities.set_service_account_disabled("ci", True)
    assert refusal(identities, key.id) is Refusal.DISABLED
    identities.set_service_account_disabled("ci", False)
    identities.find(key.id)
    identities.delete_service_account("ci")
    assert refusal(identities, key.id) is Refusal.UNKNOWN


def test_a_service_account_left_by_a_crash_serves_nobody(identities: Identities, documents: MemoryDocuments) -> None:
    """The deletion of its parent ended between the two documents."""
    identities.create_user("alice")
    identities.create_service_account("ci", parent="alice")
    key = identities.create_access_key(service_account="ci")
    documents.remove("iam/user/alice")
    assert refusal(identities, key.id) is Refusal.UNKNOWN
    identities.create_user("alice")
    assert refusal(identities, key.id) is Refusal.UNKNOWN
    assert identities.create_service_account("ci", parent="alice").parent_id == identities.get_user("alice").id


def test_service_accounts_are_limited_and_named_once(make: object) -> None:
    identities = make(limits=Limits(service_accounts_per_user_max=2))  # type: ignore[operator]
    for name in ("alice", "bob"):
        identities.create_user(name)
    identities.create_service_account("a", parent="alice")
    identities.create_service_account("b", parent="alice")
    with pytest.raises(ConflictError, match="limit is 2"):
        identities.create_service_account("c", parent="alice")
    identities.create_service_account("c", parent="bob")
    assert [account.name for account in identities.list_service_accounts(parent="alice")] == ["a", "b"]
    with pytest.raises(NotFoundError):
        identities.create_service_account("d", parent="nobody")
    with pytest.raises(InvalidInputError):
        identities.create_access_key()
    with pytest.raises(InvalidInputError):
        identities.create_access_key("alice", service_account="a")


def test_last_use_is_written_hourly(make: object, clock: SetClock, documents: MemoryDocuments) -> None:
    one, other = make(), make()  # type: ignore[operator]
    one.create_user("alice")
    key = one.create_access_key("alice")
    revision = documents.revision()
    for _ in range(100):
        one.find(key.id)
    assert one.write_last_used() == 0
    assert documents.revision() == revision
    clock.move(3599)
    assert one.write_last_used() == 0
    clock.move(1)
    assert one.write_last_used() == 1
    assert other.get_access_key(key.id).last_used_ns == START_NS
    one.find(key.id)
    other.find(key.id)
    assert one.write_last_used() == 0
    clock.move(5)
    other.find(key.id)
    assert other.write_last_used(force=True) == 1
    assert one.write_last_used(force=True) == 1, "an older time, which must not win"
    assert one.list_access_keys("alice")[0].last_used_ns == START_NS + 3605 * S


def test_tidy_removes_what_serves_nobody_and_nothing_else(
    identities: Identities, clock: SetClock, documents: MemoryDocuments
) -> None:
    for name in ("alice", "bob"):
        identities.create_user(name)
        identities.create_service_account(f"of-{name}", parent=name)
    keys = [identities.create_access_key("alice"), identities.create_access_key(service_account="of-bob")]
    for key in keys:
        identities.find(key.id)
    identities.write_last_used(force=True)
    documents.remove("iam/user/bob")
    documents.put("iam/key/TVAK" + "B" * 16, {**_pointer(documents, keys[0].id), "created_ns": START_NS + 3600 * S})
    clock.move(3600)
    assert identities.tidy() == 3, "an account, its pointer, its last use"
    assert identities.tidy() == 0
    assert identities.find(keys[0].id)
    assert len(documents.list("iam/key/")) == 2, "a young pointer may be of a key that is being made"
    assert identities.get_access_key(keys[0].id).last_used_ns == START_NS


def _pointer(documents: MemoryDocuments, key_id: str) -> dict[str, object]:
    document = documents.get(f"iam/key/{key_id}")
    assert document is not None
    return dict(document.data)


def test_a_sealer_of_ones_own_is_used(make: object, documents: MemoryDocuments) -> None:
    sealed: list[bytes] = []

    class Noting(FileSealer):
        def seal(self, plaintext: bytes, binding: bytes) -> bytes:
            sealed.append(binding)
            return super().seal(plaintext, binding)

    identities = make()  # type: ignore[operator]
    identities.sealer = Noting(b"k" * 32)
    user = identities.create_user("alice")
    key = identities.create_access_key("alice")
    assert len(sealed) == 1
    for part in (b"one", b"access-key", key.id.encode(), user.id.encode()):
        assert part in sealed[0]
