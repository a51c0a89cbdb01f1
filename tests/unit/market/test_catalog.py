"""The catalog: numbered entries, one winner each, the state as of any of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.market.catalog import Catalog, Change, Manifest, Part, SeriesKey

KEY = SeriesKey("XCME", "ES/H4 100%", "mbo")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tv.Bucket]:
    with tv.open(tmp_path / "data") as vault:
        yield vault.create_bucket("library-test", durability="relaxed")


def part(number: int) -> Part:
    return Part(f"part/{number}", "2023-12-26", 10, number, number + 1, True, 100, f"source-{number}")


def add(catalog: Catalog, number: int) -> Manifest:
    return catalog.commit(KEY, lambda state: Change("ingest", (part(number),), source=f"source-{number}"))


def test_a_series_is_what_its_entries_say(store: tv.Bucket) -> None:
    catalog = Catalog(store)
    assert catalog.series() == []
    assert catalog.manifest(KEY).parts == ()
    add(catalog, 1)
    add(catalog, 2)
    state = catalog.commit(KEY, lambda state: Change("compact", (part(3),), frozenset({"part/1", "part/2"})))
    assert (state.version, state.rows) == (3, 10)
    assert state.parts == (part(3)._replace(stamp_min=state.stamp, stamp_max=state.stamp),)
    assert state.sources == {"source-1", "source-2"}
    assert Catalog(store).manifest(KEY) == state
    assert Catalog(store).series() == [KEY]
    assert [version.rows for version in catalog.versions(KEY)] == [10, 20, 10]


def test_a_reader_sees_what_another_wrote(store: tv.Bucket) -> None:
    reader, writer = Catalog(store), Catalog(store)
    for number in range(1, 100):
        add(writer, number)
        assert reader.manifest(KEY) == Catalog(store).manifest(KEY) == writer.manifest(KEY)
        assert reader.manifest(KEY).rows == 10 * number


def test_a_past_state_is_found_by_its_commit(store: tv.Bucket) -> None:
    catalog = Catalog(store)
    states = [add(catalog, number) for number in range(1, 70)]
    for state in states:
        assert catalog.stamp_of(KEY, state.commit) == state.stamp
    assert catalog.stamp_of(KEY, states[0].commit - 1) == 0
    assert [version.commit for version in catalog.versions(KEY)] == [state.commit for state in states][::-1]


class BackwardClock:
    """A clock that goes back at every look."""

    def __init__(self) -> None:
        self.now = 10**18

    def now_ns(self) -> int:
        self.now -= 1_000
        return self.now

    def monotonic_ns(self) -> int:
        return 0


def test_commit_times_rise_whatever_the_clock_does(store: tv.Bucket) -> None:
    catalog = Catalog(store, BackwardClock())
    stamps = [add(catalog, number).stamp for number in range(40)]
    assert stamps == sorted(set(stamps))
    assert [version.committed_ns for version in Catalog(store).versions(KEY)] == stamps[::-1]


def test_what_is_gone_is_kept_for_the_past(store: tv.Bucket) -> None:
    catalog = Catalog(store)
    first = add(catalog, 1)
    state = catalog.commit(KEY, lambda state: Change("write", (part(2),), gone=frozenset({"part/1"}), rows=0))
    assert [(each.key, each.gone) for each in state.parts] == [("part/1", state.stamp), ("part/2", 0)]
    assert [each.key for each in state.live_parts] == ["part/2"]
    assert (first.rows, state.rows) == (10, 10)
    for number in range(3, 40):
        add(catalog, number)
    assert Catalog(store).manifest(KEY).parts[0].gone == state.stamp


def test_of_many_writers_each_entry_has_one_winner_and_nothing_is_lost(store: tv.Bucket) -> None:
    def write(writer: int) -> None:
        catalog = Catalog(store)
        for number in range(20):
            add(catalog, 1000 * writer + number)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = Catalog(store).manifest(KEY)
    assert state.version == 80
    assert sorted(part.key for part in state.parts) == sorted(
        f"part/{1000 * writer + number}" for writer in range(4) for number in range(20)
    )


def test_a_change_that_has_become_needless_is_not_made(store: tv.Bucket) -> None:
    catalog = Catalog(store)
    state = add(catalog, 1)
    assert catalog.commit(KEY, lambda now: None) == state


def test_series_are_found_by_what_is_known_of_them(store: tv.Bucket) -> None:
    catalog = Catalog(store)
    keys = [
        SeriesKey(*words) for words in (("A", "X", "mbo"), ("A", "X", "trades"), ("B", "X", "mbo"), ("B", "Y", "mbo"))
    ]
    for key in keys:
        catalog.commit(key, lambda state: Change("ingest"))
    assert catalog.series() == keys
    assert catalog.series("X", "mbo") == [keys[0], keys[2]]
    assert catalog.series("X", "mbo", "B") == [keys[2]]
    assert catalog.series(venue="B") == keys[2:]
    assert catalog.series(schema="trades") == [keys[1]]


def test_an_entry_deleted_by_hand_is_told(store: tv.Bucket) -> None:
    catalog = Catalog(store)
    for number in range(1, 4):
        add(catalog, number)
    store.delete(f"log/{KEY.path}/{2:012d}")
    with pytest.raises(tv.IntegrityError, match="lacks version 2"):
        Catalog(store).manifest(KEY)
