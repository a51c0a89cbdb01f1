"""Two handles on the same documents, as two processes: of what excludes each other exactly one happens."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from identity_setting import READ
from memory_documents import MemoryDocuments

from tickvault.errors import AlreadyExistsError, ConflictError, NotFoundError, TickVaultError
from tickvault.security.identity import Identities, Limits

ROUNDS = 30
Handles = tuple[Identities, Identities]


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def race(*calls: Callable[[], object]) -> list[object]:
    """Run calls at once; return what each returned or raised."""
    results: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(place: int) -> None:
        barrier.wait()
        try:
            results[place] = calls[place]()
        except TickVaultError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def handles(make: object) -> Handles:
    return make(), make()  # type: ignore[operator]


def test_one_of_two_creations_wins(handles: Handles) -> None:
    for place in range(ROUNDS):
        name = f"user{place}"
        results = race(*(partial(each.create_user, name) for each in handles))
        assert sum(isinstance(result, AlreadyExistsError) for result in results) == 1
        winner = next(result for result in results if not isinstance(result, TickVaultError))
        assert handles[0].get_user(name) == winner


def test_one_of_two_deletions_wins(handles: Handles) -> None:
    for place in range(ROUNDS):
        handles[0].create_user("alice")
        handles[0].create_policy("mine", READ)
        results = race(*(partial(each.delete_user, "alice") for each in handles))
        assert sum(isinstance(result, NotFoundError) for result in results) == 1, place
        results = race(*(partial(each.delete_policy, "mine") for each in handles))
        assert sum(isinstance(result, NotFoundError) for result in results) == 1, place


def test_the_limit_of_keys_holds_for_both(handles: Handles) -> None:
    for place in range(ROUNDS):
        name = f"user{place}"
        handles[0].create_user(name)
        results = race(*(partial(each.create_access_key, name) for each in handles * 3))
        assert sum(isinstance(result, ConflictError) for result in results) == 4
        keys = handles[0].list_access_keys(name)
        assert len(keys) == 2
        assert all(handles[1].find(key.id) for key in keys)


def test_no_change_of_two_is_lost(handles: Handles) -> None:
    handles[0].create_user("alice")
    one, other = handles

    def tag(each: Identities, letter: str) -> None:
        for place in range(20):
            each.tag_user("alice", {f"{letter}{place}": ""})

    assert race(lambda: tag(one, "a"), lambda: tag(other, "b")) == [None, None]
    assert len(one.get_user("alice").tags) == 40


def test_one_of_two_conditional_updates_wins(handles: Handles) -> None:
    policy = handles[0].create_policy("mine", READ)
    for place in range(ROUNDS):
        texts = [READ.replace("*", f"{side}{place}") for side in "ab"]
        revision = policy.revision
        results = race(
            *(
                partial(each.update_policy, "mine", text, expect=revision)
                for each, text in zip(handles, texts, strict=True)
            )
        )
        assert sum(isinstance(result, ConflictError) for result in results) == 1
        policy = handles[0].get_policy("mine")
        assert policy in results


def test_attaching_and_deleting_never_both_succeed(handles: Handles) -> None:
    one, other = handles
    one.create_user("alice")
    for place in range(ROUNDS * 3):
        name = f"p{place}"
        one.create_policy(name, READ)
        attached, deleted = race(partial(one.attach_policy, name, user="alice"), partial(other.delete_policy, name))
        assert attached is not None or deleted is not None
        held = [link.name for link in one.get_user("alice").policies]
        assert (name in held) == (attached is None)
        try:
            one.get_policy(name)
            assert deleted is not None
        except NotFoundError:
            assert deleted is None
            assert attached is not None
        one.detach_policy(name, user="alice")


def test_joining_and_deleting_a_group_never_both_succeed(handles: Handles) -> None:
    one, other = handles
    one.create_user("alice")
    for place in range(ROUNDS * 2):
        name = f"g{place}"
        one.create_group(name)
        joined, deleted = race(partial(one.add_user_to_group, "alice", name), partial(other.delete_group, name))
        assert isinstance(joined, TickVaultError) or isinstance(deleted, TickVaultError)
        assert (name in [link.name for link in one.get_user("alice").groups]) == (
            not isinstance(joined, TickVaultError)
        )
        one.remove_user_from_group("alice", name)


def test_one_of_two_rotations_wins(make: object, documents: MemoryDocuments) -> None:
    one, other = make(limits=Limits(active_keys_max=2)), make()  # type: ignore[operator]
    for place in range(ROUNDS):
        name = f"user{place}"
        one.create_user(name)
        key = one.create_access_key(name)
        results = race(*(partial(each.rotate_access_key, key.id, grace_s=60) for each in (one, other)))
        assert sum(isinstance(result, ConflictError) for result in results) == 1
        assert len(one.list_access_keys(name)) == 2
    assert len(documents.list("iam/key/")) == 2 * ROUNDS
