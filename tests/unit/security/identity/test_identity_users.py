from __future__ import annotations

import pytest
from identity_setting import READ
from memory_documents import MemoryDocuments

from tickvault.errors import (
    AlreadyExistsError,
    ConflictError,
    FormatError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
)
from tickvault.security.documents import DOCUMENT_SIZE_MAX
from tickvault.security.identity import CredentialRefusedError, Identities, Limits

HOSTILE_NAMES = [
    "", "a/b", "../root", "/", "a b", "a\x00", "a\n", "\x7f", "a\u200b", "аlice", "ａlice", "alice\u0301", "ſ",
    "\u212a", "a" * 65, "${aws:username}", "*", "a?", 'a"', "root", "ROOT", "anonymous", "a:b", "a\\b", "\ud800",
    ".", "..",
]  # fmt: skip


def test_a_user_is_made_found_listed_and_deleted(identities: Identities) -> None:
    made = identities.create_user("alice", tags={"desk": "rates"})
    assert made.arn == "arn:aws:iam::000000000000:user/alice"
    assert made.id.startswith("AIDA")
    assert len(made.id) == 21
    assert identities.get_user("alice") == made
    identities.create_user("bob")
    assert [user.name for user in identities.list_users()] == ["alice", "bob"]
    identities.delete_user("alice")
    with pytest.raises(NotFoundError):
        identities.get_user("alice")
    with pytest.raises(NotFoundError):
        identities.delete_user("alice")
    assert identities.create_user("alice").id != made.id


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_names_that_could_be_taken_for_others_are_refused(
    identities: Identities, documents: MemoryDocuments, name: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        identities.create_user(name)
    assert str(caught.value).isascii(), "a message that a terminal shows must not hold what was refused"
    assert documents.list("") == []
    with pytest.raises(NotFoundError):
        identities.get_user(name)


@pytest.mark.parametrize("name", [None, 7, b"alice", ["alice"]])
def test_a_name_of_another_type_is_refused(identities: Identities, name: object) -> None:
    with pytest.raises(InvalidInputError):
        identities.create_user(name)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        identities.get_user(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a", "a" * 64, "A+b=c,d.e@f-g_9", "...", "-"])
def test_names_that_aws_takes_are_taken(identities: Identities, name: str) -> None:
    assert identities.create_user(name).name == name
    assert identities.get_user(name).name == name


def test_names_do_not_differ_by_case_only(identities: Identities) -> None:
    identities.create_user("Kim")
    for other in ("kim", "KIM", "Kim"):
        with pytest.raises(AlreadyExistsError):
            identities.create_user(other)
    for other in ("kim", "\u212aim"):  # the Kelvin sign is k in lower case
        with pytest.raises(NotFoundError):
            identities.get_user(other)
        with pytest.raises(NotFoundError):
            identities.delete_user(other)


@pytest.mark.parametrize(
    "tags",
    [
        {"": "x"}, {"a" * 129: "x"}, {"a": "x" * 257}, {"aws:x": "y"}, {"AWS:x": "y"}, {"a": "\n"}, {"a\x00": "b"},
        {"a": "b", "A": "c"}, {"a": "<script>"}, {"a": 1}, {1: "a"}, [("a", "b")], {str(i): "" for i in range(51)},
    ],
)  # fmt: skip
def test_tags_that_break_a_rule_are_refused(identities: Identities, tags: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        identities.create_user("alice", tags=tags)
    identities.create_user("bob")
    with pytest.raises(InvalidInputError):
        identities.tag_user("bob", tags)
    assert identities.get_user("bob").tags == {}


def test_tags_are_added_replaced_and_taken_away(identities: Identities) -> None:
    identities.create_user("alice", tags={"desk": "rates", "site": "Zürich"})
    assert identities.tag_user("alice", {"desk": "credit", "a b": ""}).tags == {
        "desk": "credit", "site": "Zürich", "a b": ""
    }  # fmt: skip
    assert identities.untag_user("alice", ["desk", "never"]).tags == {"site": "Zürich", "a b": ""}
    with pytest.raises(InvalidInputError, match="at most 50"):
        identities.tag_user("alice", {f"k{i}": "" for i in range(49)})


def test_a_user_with_something_is_deleted_with_force_only(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    identities.create_group("quants")
    identities.add_user_to_group("alice", "quants")
    identities.attach_policy("reader", user="alice")
    identities.put_inline_policy("own", READ, user="alice")
    identities.create_service_account("ci", parent="alice")
    key = identities.create_access_key("alice")
    of_ci = identities.create_access_key(service_account="ci")
    with pytest.raises(ConflictError) as caught:
        identities.delete_user("alice")
    for held in ("quants", "reader", "own", "ci", key.id):
        assert held in str(caught.value)
    assert identities.find(key.id).principal.user_name == "alice"
    identities.delete_user("alice", force=True)
    for each in (key, of_ci):
        with pytest.raises(CredentialRefusedError):
            identities.find(each.id)
    assert [document.name for document in documents.list("")] == ["iam/group/quants"]


def test_one_made_again_under_an_old_name_inherits_nothing(identities: Identities) -> None:
    identities.create_user("alice")
    identities.create_service_account("ci", parent="alice")
    key = identities.create_access_key("alice")
    identities.delete_user("alice", force=True)
    identities.create_user("alice")
    with pytest.raises(CredentialRefusedError):
        identities.find(key.id)
    assert identities.list_access_keys("alice") == []
    assert identities.list_service_accounts(parent="alice") == []


def test_groups_have_members_and_are_deleted_without_them_only(identities: Identities) -> None:
    group = identities.create_group("quants")
    assert group.id.startswith("AGPA")
    identities.create_user("alice")
    identities.add_user_to_group("alice", "quants")
    before = identities.get_user("alice").revision
    identities.add_user_to_group("alice", "quants")
    assert identities.get_user("alice").revision == before, "joining twice writes once"
    assert identities.group_members("quants") == ["alice"]
    with pytest.raises(ConflictError, match="user alice"):
        identities.delete_group("quants")
    assert not identities.get_group("quants").closing
    identities.remove_user_from_group("alice", "quants")
    identities.delete_group("quants")
    with pytest.raises(NotFoundError):
        identities.delete_group("quants")
    with pytest.raises(NotFoundError):
        identities.add_user_to_group("alice", "quants")


def test_a_user_is_in_ten_groups_at_most(identities: Identities) -> None:
    identities.create_user("alice")
    for place in range(11):
        identities.create_group(f"g{place}")
    for place in range(10):
        identities.add_user_to_group("alice", f"g{place}")
    with pytest.raises(ConflictError, match="limit is 10"):
        identities.add_user_to_group("alice", "g10")
    identities.add_user_to_group("alice", "g3")


def test_counts_are_limited(make: object) -> None:
    identities = make(limits=Limits(users_max=3, groups_max=1, roles_max=1, policies_max=1))  # type: ignore[operator]
    for name in ("a", "b", "c"):
        identities.create_user(name)
    with pytest.raises(ConflictError, match="limit is 3"):
        identities.create_user("d")
    identities.delete_user("b")
    identities.create_user("d")
    identities.create_group("g")
    with pytest.raises(ConflictError):
        identities.create_group("h")
    identities.create_policy("p", READ)
    with pytest.raises(ConflictError):
        identities.create_policy("q", READ)


def test_limits_have_limits() -> None:
    for wrong in ({"users_max": 0}, {"active_keys_max": 17}, {"tags_max": "5"}):
        with pytest.raises(InvalidInputError):
            Limits(**wrong)  # type: ignore[arg-type]


def test_a_user_at_all_limits_fits_in_a_document(identities: Identities, documents: MemoryDocuments) -> None:
    wide = "\U0001d400"  # a letter of four bytes
    identities.create_user("u" * 64, tags={f"{place:02d}" + wide * 126: wide * 256 for place in range(50)})
    user = "u" * 64
    text = READ[:-1] + " " * (64 * 1024 // 7 - len(READ)) + READ[-1]
    for place in range(6):
        identities.put_inline_policy(f"{place}".rjust(128, "p"), text, user=user)
    with pytest.raises(ConflictError, match="together"):
        for place in range(6, 14):
            identities.put_inline_policy(f"{place}".rjust(128, "p"), text, user=user)
    for place in range(8):
        key = identities.create_access_key(user, description=wide * 1000)
        identities.set_access_key_disabled(key.id, place < 8)
    for place in range(10):
        name = f"{place}".rjust(128, "g")
        identities.create_group(name)
        identities.add_user_to_group(user, name)
    document = documents.get(f"iam/user/{user}")
    assert document is not None
    # The documents of the test refuse what is larger; there is room for what a later release adds.
    assert len(repr(document.data).encode()) < DOCUMENT_SIZE_MAX * 0.9


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("disabled", "no"), ("disabled", None), ("disabled", 0), ("id", None), ("groups", "quants"), ("groups", [1]),
        ("groups", [{"name": "g"}]), ("inline_policies", {"a": 1}), ("access_keys", None), ("created_ns", 1.5),
        ("created_ns", True), ("boundary", [{"name": "a", "id": "b"}] * 2), ("name", "bob"), ("tags", [["a", "b"]]),
    ],
)  # fmt: skip
def test_a_damaged_document_is_an_error_never_a_default(
    identities: Identities, documents: MemoryDocuments, field: str, value: object
) -> None:
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    document = documents.get("iam/user/alice")
    assert document is not None
    documents.put(document.name, {**document.data, field: value})
    with pytest.raises(IntegrityError, match="iam/user/alice"):
        identities.get_user("alice")
    with pytest.raises(IntegrityError):
        identities.find(key.id)
    missing = {name: each for name, each in document.data.items() if name != field}
    documents.put(document.name, missing)
    with pytest.raises(IntegrityError):
        identities.find(key.id)


def test_a_document_of_a_later_release_is_refused(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    document = documents.get("iam/user/alice")
    assert document is not None
    documents.put(document.name, {**document.data, "v": 2})
    with pytest.raises(FormatError, match="version 2"):
        identities.get_user("alice")
