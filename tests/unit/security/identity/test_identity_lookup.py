"""The cache of lookups: never older than the last change, and asked for little."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
from identity_setting import READ, TRUST, WRITE
from memory_documents import MemoryDocuments

from tickvault.errors import BusyError
from tickvault.security.documents import Document
from tickvault.security.identity import Credential, CredentialRefusedError, Identities, lookup


def test_a_lookup_made_before_reads_no_document(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    first = identities.find(key.id)
    before = documents.get_count
    for _ in range(100):
        assert identities.find(key.id) is first
    assert documents.get_count == before


def test_a_change_elsewhere_keeps_the_same_credential(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    identities.create_policy("mine", READ)
    identities.attach_policy("mine", user="alice")
    key = identities.create_access_key("alice")
    first = identities.find(key.id)
    identities.create_user("bob")
    documents.put("bucket/ticks", {"policy": "…"})
    before = documents.get_count
    assert identities.find(key.id) is first
    assert documents.get_count - before == 3, "pointer, user, policy are looked at"
    assert identities.find(key.id) is first
    assert documents.get_count - before == 3


Change = Callable[[Identities], object]
CHANGES: list[Change] = [
    lambda i: i.update_policy("mine", WRITE),
    lambda i: i.detach_policy("mine", group="quants"),
    lambda i: i.attach_policy("reader", user="alice"),
    lambda i: i.put_inline_policy("own", READ, group="quants"),
    lambda i: i.remove_user_from_group("alice", "quants"),
    lambda i: i.set_boundary("bound", user="alice"),
    lambda i: i.tag_user("alice", {"a": "b"}),
    lambda i: i.set_access_key_disabled(i.list_access_keys("alice")[0].id, True),
    lambda i: i.set_user_disabled("alice", True),
    lambda i: i.delete_user("alice", force=True),
]


@pytest.mark.parametrize("place", range(len(CHANGES)))
def test_what_another_process_changes_is_seen_at_the_next_lookup(make: object, place: int) -> None:
    one, other = make(), make()  # type: ignore[operator]
    one.create_user("alice")
    one.create_group("quants")
    one.create_policy("mine", READ)
    one.create_policy("bound", READ)
    one.attach_policy("mine", group="quants")
    one.add_user_to_group("alice", "quants")
    key = one.create_access_key("alice")

    def seen(identities: Identities) -> object:
        try:
            found = identities.find(key.id)
        except CredentialRefusedError as error:
            return error.refusal
        return found.principal, found.policies

    before = seen(one)
    CHANGES[place](other)
    assert seen(one) != before
    assert seen(one) == seen(make())  # type: ignore[operator]


def test_equal_policies_have_equal_prints_and_others_have_not(identities: Identities) -> None:
    for name in ("alice", "bob"):
        identities.create_user(name)
        identities.attach_policy("reader", user=name)
    keys = [identities.create_access_key(name) for name in ("alice", "bob")]
    prints = [identities.find(key.id).policies.fingerprint for key in keys]
    assert prints[0] == prints[1]
    identities.attach_policy("administrator", user="bob")
    assert identities.find(keys[1].id).policies.fingerprint != prints[0]


def test_the_cache_is_bounded(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "CACHED_MAX", 8)
    keys = []
    for place in range(20):
        identities.create_user(f"u{place}")
        keys.append(identities.create_access_key(f"u{place}").id)
    for _ in range(3):
        for key_id in keys:
            assert identities.find(key_id).access_key_id == key_id
            assert len(identities._lookup._entries) <= 8
    for place in range(100):
        with pytest.raises(CredentialRefusedError):
            identities.find(f"TVAK{place:016d}")
    assert keys[-1] in identities._lookup._entries, "who guesses pushes nobody out"


class Between(MemoryDocuments):
    """Runs something once, just after a document was read."""

    def __init__(self) -> None:
        super().__init__()
        self.after: dict[str, Callable[[], None]] = {}

    def get(self, name: str) -> Document | None:
        document = super().get(name)
        then = self.after.pop(name, None)
        if then is not None:
            then()
        return document


def test_no_reader_sees_a_new_right_without_the_denial_before_it(make: object) -> None:
    """The user gets a denial, then their group a right: a reader between the two saw the right alone."""
    documents = Between()
    one, other = make(on=documents), make(on=documents)  # type: ignore[operator]
    one.create_user("alice")
    one.create_group("quants")
    one.add_user_to_group("alice", "quants")
    key = one.create_access_key("alice")

    def change() -> None:
        other.put_inline_policy("denial", WRITE, user="alice")
        other.put_inline_policy("right", READ, group="quants")

    documents.after["iam/user/alice"] = change
    names = [name for name, _ in one.find(key.id).policies.identity]
    assert names == ["user/alice/denial", "group/quants/right"]


def test_a_refusal_seen_between_two_changes_is_looked_at_again(make: object) -> None:
    documents = Between()
    one, other = make(on=documents), make(on=documents)  # type: ignore[operator]
    one.create_user("alice")
    key = one.create_access_key("alice")
    other.set_user_disabled("alice", True)
    documents.after["iam/user/alice"] = lambda: other.set_user_disabled("alice", False) and None
    assert one.find(key.id).principal.user_name == "alice"


def test_what_never_stands_still_is_busy_not_wrong(make: object) -> None:
    class Restless(MemoryDocuments):
        restless = False

        def get(self, name: str) -> Document | None:
            document = super().get(name)
            if self.restless and name == "iam/user/alice" and document is not None:
                self.put(name, document.data)
            return document

    documents = Restless()
    identities = make(on=documents)  # type: ignore[operator]
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    documents.restless = True
    with pytest.raises(BusyError, match="keeps changing"):
        identities.find(key.id)


def test_many_threads_look_up_while_one_changes(make: object) -> None:
    """After a change was acknowledged, no thread is told what was before it."""
    one, other = make(), make()  # type: ignore[operator]
    one.create_user("alice")
    one.create_role("worker", TRUST)
    key = one.create_access_key("alice")
    session = one.assume_role(one.find(key.id), "worker", "run", decide=lambda request: True)
    acknowledged = 0
    stop = threading.Event()
    wrong: list[object] = []

    def generation(found: Credential) -> int:
        return int(found.principal.tags.get("generation", "0"))

    def look() -> None:
        while not stop.is_set():
            floor = acknowledged
            found = one.find(key.id)
            if generation(found) < floor:
                wrong.append((floor, generation(found)))
            one.find(session.access_key_id, session.session_token.reveal())

    threads = [threading.Thread(target=look) for _ in range(4)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for place in range(1, 200):
            other.tag_user("alice", {"generation": str(place)})
            acknowledged = place
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(switch)
    assert wrong == []
    assert generation(one.find(key.id)) == 199
