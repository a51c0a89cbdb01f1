from __future__ import annotations

import pytest
from identity_setting import READ, TRUST, WRITE
from memory_documents import MemoryDocuments

from tickvault.errors import AccessDeniedError, AlreadyExistsError, ConflictError, InvalidInputError, NotFoundError
from tickvault.security.identity import CredentialRefusedError, Identities, Refusal


def texts(identities: Identities, key_id: str) -> list[str]:
    return [name for name, _ in identities.find(key_id).policies.identity]


def test_a_managed_policy_is_made_changed_and_deleted(identities: Identities) -> None:
    made = identities.create_policy("mine", READ, description="reads")
    assert made.arn == "arn:aws:iam::000000000000:policy/mine"
    changed = identities.update_policy("mine", WRITE, expect=made.revision)
    assert (changed.text, changed.description) == (WRITE, "reads")
    assert changed.revision > made.revision
    with pytest.raises(ConflictError, match="revision"):
        identities.update_policy("mine", READ, expect=made.revision)
    assert identities.get_policy("mine").text == WRITE
    assert [policy.name for policy in identities.list_policies()] == ["administrator", "reader", "mine"]
    identities.delete_policy("mine")
    with pytest.raises(NotFoundError):
        identities.get_policy("mine")


def test_built_in_policies_stay_as_they_are(identities: Identities) -> None:
    with pytest.raises(AccessDeniedError):
        identities.update_policy("reader", WRITE)
    with pytest.raises(AccessDeniedError):
        identities.delete_policy("reader")
    for name in ("reader", "READER"):
        with pytest.raises(AlreadyExistsError):
            identities.create_policy(name, WRITE)
    assert identities.get_policy("reader").built_in


@pytest.mark.parametrize("text", ["", "{}", "[" * 5000, TRUST, "x" * 10_241, '"' + "é" * 6000 + '"', None, 7, b"{}"])
def test_what_is_no_policy_is_kept_nowhere(identities: Identities, documents: MemoryDocuments, text: str) -> None:
    identities.create_user("alice")
    identities.create_policy("mine", READ)
    before = documents.revision()
    with pytest.raises(InvalidInputError):
        identities.create_policy("bad", text)
    with pytest.raises(InvalidInputError):
        identities.update_policy("mine", text)
    with pytest.raises(InvalidInputError):
        identities.put_inline_policy("bad", text, user="alice")
    with pytest.raises(InvalidInputError):
        identities.create_role("worker", text if text != TRUST else READ)
    with pytest.raises(InvalidInputError):
        identities.create_service_account("ci", parent="alice", policy=text if text is not None else "")
    assert documents.revision() == before


def test_a_huge_policy_is_not_even_parsed(identities: Identities, make: object) -> None:
    def never(text: str, kind: str) -> object:
        raise AssertionError("parsed")

    identities.compile_policy = never
    for size in (10_241, 10_000_000):
        with pytest.raises(InvalidInputError, match="10240 bytes"):
            identities.create_policy("big", "x" * size)


def test_policies_reach_a_key_by_every_way(identities: Identities) -> None:
    identities.create_user("alice")
    identities.create_group("quants")
    identities.create_policy("mine", READ)
    identities.create_policy("bound", WRITE)
    key = identities.create_access_key("alice")
    assert texts(identities, key.id) == []
    identities.attach_policy("mine", user="alice")
    identities.attach_policy("mine", user="alice")
    identities.attach_policy("reader", user="alice")
    identities.put_inline_policy("own", WRITE, user="alice")
    identities.attach_policy("mine", group="quants")
    identities.put_inline_policy("desk", WRITE, group="quants")
    identities.add_user_to_group("alice", "quants")
    identities.set_boundary("bound", user="alice")
    found = identities.find(key.id)
    assert dict(found.policies.identity) == {
        "policy/mine": READ,
        "policy/reader": READ,
        "user/alice/own": WRITE,
        "group/quants/desk": WRITE,
    }
    assert found.policies.boundary == ("policy/bound", WRITE)
    assert found.policies.session == ()
    assert found.principal.groups == ("quants",)
    identities.remove_user_from_group("alice", "quants")
    identities.detach_policy("mine", user="alice")
    identities.delete_inline_policy("own", user="alice")
    identities.set_boundary(None, user="alice")
    found = identities.find(key.id)
    assert dict(found.policies.identity) == {"policy/reader": READ}
    assert found.policies.boundary is None


def test_what_somebody_holds_is_not_deleted(identities: Identities) -> None:
    identities.create_policy("mine", READ)
    identities.create_user("alice")
    identities.create_group("quants")
    identities.create_role("worker", TRUST, boundary="mine")
    identities.attach_policy("mine", user="alice")
    identities.attach_policy("mine", group="quants")
    identities.set_boundary("mine", user="alice")
    holders = ["user alice", "boundary of user alice", "group quants", "boundary of role worker"]
    assert identities.policy_holders("mine") == holders
    with pytest.raises(ConflictError) as caught:
        identities.delete_policy("mine")
    assert all(holder in str(caught.value) for holder in holders)
    assert not identities.get_policy("mine").closing, "a deletion that was refused leaves no mark"
    identities.detach_policy("mine", user="alice")
    identities.detach_policy("mine", group="quants")
    identities.set_boundary(None, user="alice")
    identities.set_boundary(None, role="worker")
    identities.delete_policy("mine")


def test_an_entity_has_twenty_policies_at_most(identities: Identities) -> None:
    identities.create_user("alice")
    for place in range(12):
        identities.create_policy(f"p{place}", READ)
        identities.attach_policy(f"p{place}", user="alice")
    for place in range(8):
        identities.put_inline_policy(f"i{place}", READ, user="alice")
    identities.put_inline_policy("i0", WRITE, user="alice")
    with pytest.raises(ConflictError, match="limit is 20"):
        identities.put_inline_policy("i8", READ, user="alice")
    with pytest.raises(ConflictError, match="limit is 20"):
        identities.attach_policy("reader", user="alice")


def test_one_holder_is_named(identities: Identities) -> None:
    identities.create_user("alice")
    with pytest.raises(InvalidInputError, match="0 were named"):
        identities.attach_policy("reader")
    with pytest.raises(InvalidInputError, match="2 were named"):
        identities.attach_policy("reader", user="alice", group="quants")
    with pytest.raises(NotFoundError):
        identities.attach_policy("reader", role="alice")
    with pytest.raises(NotFoundError):
        identities.attach_policy("none", user="alice")
    with pytest.raises(NotFoundError):
        identities.delete_inline_policy("none", user="alice")


def test_attaching_while_another_deletes_leaves_no_dangling_reference(make: object, documents: MemoryDocuments) -> None:
    """The deletion looks who holds the policy just before somebody is attached to it."""
    one, other = make(), make()  # type: ignore[operator]
    one.create_user("alice")
    one.create_policy("mine", READ)

    def delete_meanwhile(name: str) -> None:
        if name == "iam/user/alice":
            documents.before_put = lambda name: None
            other.delete_policy("mine")

    documents.before_put = delete_meanwhile
    with pytest.raises(ConflictError, match="deleted meanwhile"):
        one.attach_policy("mine", user="alice")
    assert one.get_user("alice").policies == ()


def test_deleting_while_another_attaches_is_refused(make: object, documents: MemoryDocuments) -> None:
    """Somebody is attached after the deletion looked, and before it removed."""
    one, other = make(), make()  # type: ignore[operator]
    one.create_user("alice")
    one.create_policy("mine", READ)
    seen: list[str] = []

    def attach_meanwhile(name: str) -> None:
        if name == "iam/policy/mine":
            seen.append(name)
            if len(seen) == 2:  # the mark was the first; this is the removal
                documents.before_put = lambda name: None
                with pytest.raises(ConflictError):
                    other.attach_policy("mine", user="alice")

    documents.before_put = attach_meanwhile
    one.delete_policy("mine")
    assert len(seen) == 2
    assert one.get_user("alice").policies == ()


def test_a_deletion_that_was_overtaken_looks_again_who_holds_it(make: object, documents: MemoryDocuments) -> None:
    """Its mark is taken off by a change, and somebody is attached, before it removes."""
    one, other = make(), make()  # type: ignore[operator]
    one.create_user("alice")
    one.create_policy("mine", READ)
    seen: list[str] = []

    def overtake(name: str) -> None:
        seen.append(name)
        if seen.count("iam/policy/mine") == 2:
            documents.before_put = lambda name: None
            other.update_policy("mine", WRITE)
            other.attach_policy("mine", user="alice")

    documents.before_put = overtake
    with pytest.raises(ConflictError, match="user alice"):
        one.delete_policy("mine")
    assert not one.get_policy("mine").closing
    assert [link.name for link in one.get_user("alice").policies] == ["mine"]


def test_a_boundary_that_is_deleted_meanwhile_is_given_back(make: object, documents: MemoryDocuments) -> None:
    one, other = make(), make()  # type: ignore[operator]
    for name in ("old", "new"):
        one.create_policy(name, READ)
    one.create_user("alice", boundary="old")

    def delete_meanwhile(name: str) -> None:
        if name == "iam/user/alice":
            documents.before_put = lambda name: None
            other.delete_policy("new")

    documents.before_put = delete_meanwhile
    with pytest.raises(ConflictError):
        one.set_boundary("new", user="alice")
    boundary = one.get_user("alice").boundary
    assert boundary is not None
    assert boundary.name == "old", "a boundary must not be lost by a change that failed"


def test_a_mark_left_by_a_crash_is_ended_by_deleting_again_or_changing(
    identities: Identities, documents: MemoryDocuments
) -> None:
    identities.create_user("alice")
    identities.create_policy("mine", READ)
    document = documents.get("iam/policy/mine")
    assert document is not None
    documents.put(document.name, {**document.data, "closing": True})
    with pytest.raises(ConflictError, match="being deleted"):
        identities.attach_policy("mine", user="alice")
    identities.update_policy("mine", WRITE)
    identities.attach_policy("mine", user="alice")
    identities.detach_policy("mine", user="alice")
    document = documents.get("iam/policy/mine")
    assert document is not None
    documents.put(document.name, {**document.data, "closing": True})
    identities.delete_policy("mine")


@pytest.mark.parametrize("gone", ["iam/policy/mine", "iam/group/quants", "iam/policy/bound"])
def test_what_is_referred_to_and_missing_refuses_the_key(
    identities: Identities, documents: MemoryDocuments, gone: str
) -> None:
    """A missing policy could have been the one that denies."""
    identities.create_user("alice")
    identities.create_group("quants")
    identities.create_policy("mine", READ)
    identities.create_policy("bound", READ)
    identities.attach_policy("mine", group="quants")
    identities.set_boundary("bound", user="alice")
    identities.add_user_to_group("alice", "quants")
    key = identities.create_access_key("alice")
    identities.find(key.id)
    documents.remove(gone)
    with pytest.raises(CredentialRefusedError) as caught:
        identities.find(key.id)
    assert caught.value.refusal is Refusal.BROKEN
    assert caught.value.s3_code == "AccessDenied"
    # One of the same name made later is another.
    if "group" in gone:
        identities.create_group("quants")
    else:
        identities.create_policy(gone.rpartition("/")[2], READ)
    with pytest.raises(CredentialRefusedError):
        identities.find(key.id)


def test_roles_are_made_changed_and_deleted(identities: Identities) -> None:
    role = identities.create_role("worker", TRUST, duration_s_max=43_200, tags={"team": "etl"})
    assert (role.arn, role.id[:4]) == ("arn:aws:iam::000000000000:role/worker", "AROA")
    assert identities.update_role("worker", description="loads").description == "loads"
    with pytest.raises(ConflictError):
        identities.update_role("worker", description="x", expect=role.revision)
    identities.put_inline_policy("own", READ, role="worker")
    with pytest.raises(ConflictError, match="own"):
        identities.delete_role("worker")
    identities.delete_role("worker", force=True)
    assert identities.list_roles() == []
    for wrong in (899, 3599, 43_201, True, 3600.0):
        with pytest.raises(InvalidInputError):
            identities.create_role("worker", TRUST, duration_s_max=wrong)  # type: ignore[arg-type]
